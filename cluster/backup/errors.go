package backup

import "cloakroom/cluster/session"

// Why a file is not taken. Nothing has been changed then.
var (
	ErrForeign   = &session.Error{Code: "not-a-backup", Message: "this is no backup of Cloakroom"}
	ErrTruncated = &session.Error{Code: "backup-truncated", Message: "the backup ends too early: take it, or copy it, again"}
	ErrDamaged   = &session.Error{Code: "backup-damaged", Message: "the backup is damaged: its checksum, or something in it, is wrong"}
	ErrNewer     = &session.Error{Code: "backup-newer", Message: "the backup was made by a newer program: use that one, or a later one"}
	ErrNoKey     = &session.Error{Code: "backup-no-key", Message: "the backup is encrypted: name the file with its key (--data-key-file)"}
	ErrWrongKey  = &session.Error{Code: "backup-wrong-key", Message: "the backup is encrypted under a key that is not in the file: add it there as a further line (--data-key-file)"}
)
