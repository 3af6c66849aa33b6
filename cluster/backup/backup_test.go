package backup

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/consensus"
	"cloakroom/cluster/keyring"
	"cloakroom/cluster/keyring/keytest"
	"cloakroom/cluster/session"
)

// loneLayer is a listener that nobody dials.
type loneLayer struct{ net.Listener }

func (loneLayer) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) { return nil, net.ErrClosed }

// In each session of the node. In a sealed file neither can come about by chance, as a short word would now and then.
const (
	attribute = "an attribute of a session"
	username  = "ann.with.her.whole.name"
)

// lone starts a node without a disk that has some sessions.
func lone(t testing.TB, sessions int) *consensus.Node {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n, err := consensus.Open(consensus.Config{NodeID: "n1", Ephemeral: true, Layer: loneLayer{ln}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := n.Bootstrap([]consensus.Server{{ID: "n1", Addr: ln.Addr().String(), Voter: true}}); err != nil {
		t.Fatal(err)
	}
	for changed := n.Changed(); !n.IsLeader(); changed = n.Changed() {
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("no leader")
		case <-time.After(10 * time.Millisecond): // the change may have come before the channel
		}
	}
	propose(t, n, &session.Genesis{ClusterID: "cluster", RealmID: "r", AdminID: "a", ServiceID: "s"},
		&session.CreateUser{ID: "u", Realm: session.NativeRealm, Username: username, PasswordHash: "$argon2id$of-ann"})
	var userRev, realmRev uint64
	n.Read(func(m *session.Machine) {
		user, _ := m.UserByID("u")
		native, _ := m.RealmByName(session.NativeRealm)
		userRev, realmRev = user.Rev, native.Rev
	})
	for i := range sessions {
		create := &session.Create{
			Key: session.Key{byte(i), byte(i >> 8), 1}, Realm: session.NativeRealm, Username: username, Surface: session.SurfaceFusion, UserID: "u", UserRev: userRev, RealmRev: realmRev,
			Idle: time.Hour, Lifetime: time.Hour, Attrs: []session.Attr{{Key: "k", Value: attribute}},
		}
		propose(t, n, create)
	}
	return n
}

func propose(t testing.TB, n *consensus.Node, cmds ...session.Command) {
	t.Helper()
	entry, err := session.EncodeEntry(nil, &session.Entry{Stamp: 1_700_000_000_000, Commands: cmds})
	if err != nil {
		t.Fatal(err)
	}
	applied, err := n.Propose(t.Context(), entry).Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range applied.Results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

// of makes a backup of a node and returns the hash of what is in it.
func of(t testing.TB, n *consensus.Node, key *keyring.Key) (file []byte, hash [32]byte) {
	t.Helper()
	info := Info{Node: "n1", Program: "test", Level: Quorum, Made: time.Unix(1_700_000_000, 0).UTC()}
	c, err := n.Capture(func(m *session.Machine) { info.Describe(m); hash = m.Hash() })
	if err != nil {
		t.Fatal(err)
	}
	s := NewSource(info, c, key)
	defer s.Release()
	var b bytes.Buffer
	size, err := s.WriteTo(&b)
	if err != nil || size != int64(b.Len()) {
		t.Fatalf("%d of %d bytes: %v", size, b.Len(), err)
	}
	return b.Bytes(), hash
}

// A backup has all of the state, says what is in it without a key, and gives it with the right one only.
func TestBackup(t *testing.T) {
	t.Parallel()
	n := lone(t, 80)
	keys := keytest.Keys(t, 2)
	for _, key := range []*keyring.Key{nil, &keys[0]} {
		file, hash := of(t, n, key)
		info, err := Verify(iotest.OneByteReader(bytes.NewReader(file)))
		if err != nil {
			t.Fatal(err)
		}
		if info.Cluster != "cluster" || info.Sessions != 80 || info.Users != 1 || info.Index != n.Applied() || info.Node != "n1" || info.Level != Quorum ||
			!info.Clock.Equal(time.UnixMilli(1_700_000_000_000)) || (info.DataKey != "") != (key != nil) {
			t.Errorf("%+v", info)
		}
		again, m, err := Read(bytes.NewReader(file), keytest.Ring(t, keys...))
		if err != nil || m.Hash() != hash || again != info {
			t.Fatalf("%+v, %v", again, err)
		}
		_, _, without := Read(bytes.NewReader(file), nil)
		_, _, wrong := Read(bytes.NewReader(file), keytest.Ring(t, keys[1]))
		if key == nil {
			if without != nil || wrong != nil {
				t.Errorf("plain: %v, %v", without, wrong)
			}
			continue
		}
		if !errors.Is(without, ErrNoKey) || !errors.Is(wrong, ErrWrongKey) || !strings.Contains(wrong.Error(), key.ID().String()) {
			t.Errorf("without a key %v, with another %v", without, wrong)
		}
		for _, text := range []string{attribute, "$argon2id$", username} {
			if bytes.Contains(file, []byte(text)) {
				t.Errorf("%q is in the clear", text)
			}
		}
	}
}

// What is not whole is refused, wherever it ends and whatever is wrong with it, and by what it is.
func TestRefused(t *testing.T) {
	t.Parallel()
	n := lone(t, 10)
	keys := keytest.Keys(t, 1)
	for _, key := range []*keyring.Key{nil, &keys[0]} {
		file, _ := of(t, n, key)
		for i := 1; i < len(file); i++ {
			if _, err := Verify(bytes.NewReader(file[:i])); !errors.Is(err, ErrTruncated) {
				t.Fatalf("cut to %d of %d bytes: %v", i, len(file), err)
			}
			bad := bytes.Clone(file)
			bad[i] ^= 0x40
			_, m, err := Read(bytes.NewReader(bad), keytest.Ring(t, keys...))
			known := errors.Is(err, ErrDamaged) || errors.Is(err, ErrTruncated) && i < len(file)-32 || errors.Is(err, ErrForeign) && i < len(mark) || errors.Is(err, ErrNewer) && i == len(mark)
			if !known || m != nil {
				t.Fatalf("byte %d of %d: %v", i, len(file), err)
			}
		}
		if _, err := Verify(bytes.NewReader(append(bytes.Clone(file), 0))); !errors.Is(err, ErrDamaged) {
			t.Errorf("a byte too many: %v", err)
		}
		broken := errors.New("disk")
		if _, err := Verify(io.MultiReader(bytes.NewReader(file[:300]), iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Errorf("a disk that fails: %v", err)
		}
	}
	for name, text := range map[string]string{"empty": "", "text": "a letter to somebody", "snapshot": "\x01(\xb5/\xfd", "as text": strings.ReplaceAll(mark, "\r\n", "\n") + "\x01"} {
		if _, err := Verify(strings.NewReader(text)); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A head that tells of another state than the one behind it is noticed even where somebody has mended the checksum; before
// a sealed state it is not believed at all.
func TestForgedHead(t *testing.T) {
	t.Parallel()
	n := lone(t, 3)
	keys := keytest.Keys(t, 1)
	for _, key := range []*keyring.Key{nil, &keys[0]} {
		file, _ := of(t, n, key)
		f, err := readHead(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if key == nil {
			f.info.Index++
		} else {
			f.info.Level = Local // of which nothing in the state says anything
		}
		head, err := f.info.head()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		w := newFrameWriter(&b)
		body, err := io.ReadAll(f)
		if err == nil {
			err = errors.Join(w.put(head), second(w.Write(body)), w.finish())
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(bytes.NewReader(b.Bytes())); err != nil {
			t.Fatalf("the forgery is no good: %v", err)
		}
		if _, _, err := Read(bytes.NewReader(b.Bytes()), keytest.Ring(t, keys...)); !errors.Is(err, ErrDamaged) {
			t.Errorf("taken, sealed: %v: %v", key != nil, err)
		}
	}
}

func second(_ int, err error) error { return err }

// A writer that fails ends the backup, and the machine keeps nothing for it.
func TestWriterFails(t *testing.T) {
	t.Parallel()
	n := lone(t, 50)
	full := errors.New("full")
	for room := range 40 {
		c, err := n.Capture(func(*session.Machine) {})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewSource(Info{}, c, nil).WriteTo(&small{left: room * 20, err: full}); !errors.Is(err, full) {
			t.Errorf("room for %d bytes: %v", room*20, err)
		}
	}
	propose(t, n, &session.EndUser{Realm: session.NativeRealm, Username: username})
}

// small has room for so many bytes.
type small struct {
	left int
	err  error
}

func (s *small) Write(b []byte) (int, error) {
	if s.left -= len(b); s.left < 0 {
		return 0, s.err
	}
	return len(b), nil
}

var update = flag.Bool("update", false, "write the frozen file, if it is not there")

// frozen returns a backup as version 1 was written, and the hash of the state in it. The file never changes.
func frozen(t testing.TB) (file []byte, hash string) {
	t.Helper()
	path := filepath.Join("testdata", "backup-1.hex")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && *update {
		file, hash := of(t, lone(t, 5), nil)
		text = fmt.Appendf(nil, "%x\n%x\n", file, hash)
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	first, hash, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if file, err = hex.DecodeString(first); err != nil {
		t.Fatal(err)
	}
	return file, hash
}

// The file of version 1 is read for ever.
func TestFrozen(t *testing.T) {
	t.Parallel()
	file, want := frozen(t)
	info, m, err := Read(bytes.NewReader(file), nil)
	if err != nil {
		t.Fatal(err)
	}
	if hash := m.Hash(); hex.EncodeToString(hash[:]) != want || info.Sessions != 5 || info.Users != 1 || info.Cluster != "cluster" || info.Program != "test" {
		t.Errorf("%+v, hash %x", info, hash)
	}
	newer := bytes.Clone(file)
	newer[len(mark)]++
	if _, err := Verify(bytes.NewReader(newer)); !errors.Is(err, ErrNewer) {
		t.Errorf("of a version that is not known: %v", err)
	}
}

// FuzzRead: whatever a file holds, it is refused with a code or read.
func FuzzRead(f *testing.F) {
	file, _ := frozen(f)
	f.Add(file)
	f.Add([]byte(mark + "\x01\x00\x00\x00\x02{}\x00\x00\x00\x01x\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, m, err := Read(bytes.NewReader(b), nil)
		if _, coded := errors.AsType[*session.Error](err); err != nil && !coded || (m == nil) != (err != nil) {
			t.Fatalf("%v", err)
		}
	})
}
