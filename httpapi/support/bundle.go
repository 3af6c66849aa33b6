// Package support owns the support bundle: an archive of what a node can say of itself to somebody who is to find out what is
// wrong with it, and the last lines of its log, which are a part of that. What the other parts are, and that no secret is
// in them, is for those who hand them in.
//
// A bundle is a tar.gz of one directory. Its first file is the manifest, which lists the parts, and says of each whether
// it could be had: a node that is asked for a bundle is in trouble, so no part waits for another, and none that fails or
// hangs keeps the others from being written.
package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"time"
)

// Part is one file of a bundle.
type Part struct {
	Name  string // of the file
	Holds string // what is in it, in a few words
	// Take writes it. It may be called from any goroutine, and go on beyond the bundle when a disk hangs: what it writes
	// then goes nowhere.
	Take func(ctx context.Context, w io.Writer) error
}

// About is whose bundle it is.
type About struct {
	Node    string `json:"node"` // its name; "": of a node that does not run
	Program string `json:"program"`
	// Personal says which data about people is in the bundle, and what else somebody should know before it is handed on.
	Personal string `json:"personalData"`
}

// manifestName is the name of the first file.
const manifestName = "manifest.json"

// manifestVersion is that of Manifest: it grows when a reader of former ones would be misled.
const manifestVersion = 1

// Manifest is what is in a bundle, and what is not.
type Manifest struct {
	Version int       `json:"version"`
	Made    time.Time `json:"made"`
	About
	Parts []Entry `json:"parts"`
}

// Entry is one part in a manifest.
type Entry struct {
	Name  string `json:"name"`
	Holds string `json:"holds"`
	Bytes int    `json:"bytes"`
	Cut   bool   `json:"cut,omitempty"`   // there was more than fits
	Error string `json:"error,omitempty"` // why it, or the rest of it, could not be had
}

// Missing returns the parts that could not be had, or not as a whole.
func (m *Manifest) Missing() (missing []Entry) {
	for _, e := range m.Parts {
		if e.Error != "" || e.Cut {
			missing = append(missing, e)
		}
	}
	return missing
}

// Bundler makes bundles. Its methods may be called from many goroutines.
type Bundler struct {
	about About
	parts []Part

	mu   sync.Mutex
	busy map[string]bool // parts that are being taken, by name
}

// New returns what makes bundles of these parts.
func New(about About, parts []Part) *Bundler {
	return &Bundler{about: about, parts: parts, busy: map[string]bool{}}
}

// Make returns a bundle. It takes hardly longer than PartTimeout, whatever the parts do.
func (b *Bundler) Make(ctx context.Context) ([]byte, error) {
	manifest := Manifest{Version: manifestVersion, Made: time.Now().UTC().Truncate(time.Second), About: b.about}
	contents := b.take(ctx)
	left := MaxBundle
	for i, part := range b.parts {
		c := &contents[i]
		if len(c.bytes) > left {
			c.bytes, c.cut = c.bytes[:left], true
		}
		left -= len(c.bytes)
		e := Entry{Name: part.Name, Holds: part.Holds, Bytes: len(c.bytes), Cut: c.cut}
		if c.err != nil {
			e.Error = c.err.Error()
		}
		manifest.Parts = append(manifest.Parts, e)
	}
	head, err := json.MarshalIndent(&manifest, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	var out bytes.Buffer
	archive := newArchive(&out, &manifest)
	archive.add(manifestName, head)
	for i, e := range manifest.Parts {
		if e.Bytes > 0 || e.Error == "" {
			archive.add(e.Name, contents[i].bytes)
		}
	}
	if err := archive.close(); err != nil {
		return nil, fmt.Errorf("write archive: %w", err)
	}
	return out.Bytes(), nil
}

// content is what became of a part.
type content struct {
	bytes []byte
	cut   bool
	err   error
}

// Why a part is missing.
var (
	errHangs  = fmt.Errorf("did not come within %v", PartTimeout)
	errStill  = errors.New("hangs since an earlier bundle")
	errBroken = errors.New("panicked")
)

// take takes all parts at once. One that hangs is left alone, and not taken a second time as long as it does.
func (b *Bundler) take(ctx context.Context) []content {
	ctx, cancel := context.WithTimeout(ctx, PartTimeout)
	defer cancel()
	contents := make([]content, len(b.parts))
	var group sync.WaitGroup
	for i, part := range b.parts {
		if !b.begin(part.Name) {
			contents[i].err = errStill
			continue
		}
		came := make(chan content, 1)
		go func() { // waited for below, unless it hangs
			c := takeOne(ctx, part)
			b.end(part.Name) // before anybody hears of it: the next bundle would find it busy
			came <- c
		}()
		group.Go(func() {
			select {
			case contents[i] = <-came:
			case <-ctx.Done():
				grace := time.NewTimer(time.Second) // for those that go by the context, too, and have something to say
				defer grace.Stop()
				select {
				case contents[i] = <-came:
				case <-grace.C:
					contents[i].err = errHangs
				}
			}
		})
	}
	group.Wait()
	return contents
}

func takeOne(ctx context.Context, part Part) (c content) {
	w := &limited{}
	defer func() {
		if p := recover(); p != nil {
			c = content{err: errBroken}
		}
	}()
	err := part.Take(ctx, w)
	return content{bytes: w.kept.Bytes(), cut: w.cut, err: err}
}

func (b *Bundler) begin(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy[name] {
		return false
	}
	b.busy[name] = true
	return true
}

func (b *Bundler) end(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.busy, name)
}

// limited keeps the first MaxPart bytes of what is written.
type limited struct {
	kept bytes.Buffer
	cut  bool
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), MaxPart-l.kept.Len())
	l.cut = l.cut || n < len(b)
	l.kept.Write(b[:n]) // never fails
	return len(b), nil
}

// archive is a tar.gz under way. Its first error stays.
type archive struct {
	zip  *gzip.Writer
	tar  *tar.Writer
	dir  string
	made time.Time
	err  error
}

func newArchive(w io.Writer, m *Manifest) *archive {
	zip := gzip.NewWriter(w)
	return &archive{zip: zip, tar: tar.NewWriter(zip), dir: Name(m), made: m.Made}
}

// Name is what a bundle is called, without an ending.
func Name(m *Manifest) string {
	name := "cloakroom-support"
	if m.Node != "" {
		name += "-" + m.Node
	}
	return name + "-" + m.Made.Format("20060102T150405Z")
}

func (a *archive) add(name string, b []byte) {
	if a.err != nil {
		return
	}
	header := &tar.Header{Name: path.Join(a.dir, name), Mode: 0o600, Size: int64(len(b)), ModTime: a.made, Format: tar.FormatPAX}
	if a.err = a.tar.WriteHeader(header); a.err == nil {
		_, a.err = a.tar.Write(b)
	}
}

func (a *archive) close() error {
	return errors.Join(a.err, a.tar.Close(), a.zip.Close())
}

// ErrNotWhole is for what is no bundle, or not all of one.
var ErrNotWhole = errors.New("this is not a whole support bundle")

// Read reads a bundle to its end and returns its manifest, and the files by their names. One that is cut off or damaged is
// refused, and so is one that is larger than a bundle can be.
func Read(r io.Reader) (*Manifest, map[string][]byte, error) {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNotWhole, err)
	}
	const most = MaxBundle + 1<<20                            // with the manifest and the heads
	files, archive := map[string][]byte{}, tar.NewReader(zip) // the checksum of the stream is at its end, which is read
	for left := most; ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrNotWhole, err)
		}
		b, err := io.ReadAll(io.LimitReader(archive, int64(left)))
		if err != nil || int64(len(b)) < header.Size {
			return nil, nil, fmt.Errorf("%w: %w", ErrNotWhole, errors.Join(err, errors.New(header.Name)))
		}
		left -= len(b)
		files[path.Base(header.Name)] = b
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(zip, most)); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNotWhole, err)
	}
	m := &Manifest{}
	if err := json.Unmarshal(files[manifestName], m); err != nil {
		return nil, nil, fmt.Errorf("%w: its manifest: %w", ErrNotWhole, err)
	}
	for _, e := range m.Parts {
		if len(files[e.Name]) != e.Bytes {
			return nil, nil, fmt.Errorf("%w: %s has %d bytes instead of %d", ErrNotWhole, e.Name, len(files[e.Name]), e.Bytes)
		}
	}
	return m, files, nil
}
