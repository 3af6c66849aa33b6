package backup

import (
	"encoding/json"
	"fmt"
	"time"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/session"
)

// mark is how a file begins. The last bytes are a line end of each kind, and the one that ends a text.
const mark = "CLOAKROOM BACKUP\r\n\x1a\n"

// version of the file, the byte after the mark. The state has versions of its own.
const version = 1

// Level says what a backup holds.
type Level string

// The levels.
const (
	Quorum Level = "quorum" // all that was acknowledged before the backup was asked for
	Local  Level = "local"  // what the node had
)

// Info is what anybody may know of a backup.
type Info struct {
	Cluster string    `json:"cluster"` // id
	Node    string    `json:"node"`    // name of the node that wrote it
	Program string    `json:"program"` // its version
	Made    time.Time `json:"made"`    // by the node's wall clock
	Level   Level     `json:"level"`
	Index   uint64    `json:"index"` // of the log
	Term    uint64    `json:"term"`
	Clock   time.Time `json:"clock"`             // cluster time of the last entry
	DataKey string    `json:"dataKey,omitempty"` // id of the key that the state is encrypted under; "": it is not

	Sessions   int `json:"sessions"` // without those that an end index has ended, swept or not
	Users      int `json:"users"`
	Roles      int `json:"roles"`
	Realms     int `json:"realms"`
	Tombstones int `json:"tombstones"`
}

// Describe fills in what a machine says of itself.
func (i *Info) Describe(m *session.Machine) {
	stats := m.Stats()
	i.Cluster, i.Index, i.Clock = m.ClusterID(), m.Applied(), time.UnixMilli(int64(m.Clock())).UTC()
	i.Sessions, i.Users, i.Roles, i.Realms, i.Tombstones = stats.Sessions, stats.Users, stats.Roles, stats.Realms, stats.Tombstones
}

// sealedUnder sets the key, nil for none.
func (i *Info) sealedUnder(key *keyring.Key) {
	i.DataKey = ""
	if key != nil {
		i.DataKey = key.ID().String()
	}
}

// head returns everything before the frames.
func (i *Info) head() ([]byte, error) {
	text, err := json.Marshal(i)
	if err != nil {
		return nil, fmt.Errorf("write head: %w", err)
	}
	if len(text) > maxHead {
		return nil, fmt.Errorf("write head: %d bytes", len(text))
	}
	b := append([]byte(mark), version)
	b = appendLength(b, len(text))
	return append(b, text...), nil
}
