package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// Tighten takes permissions away from directories and files that go beyond the owner's, from dir downwards, and says so in
// the log. What is neither, and where links lead, is left alone. Open does it for its directory; it is here for the one
// around that.
func Tighten(dir string, logger *slog.Logger) error {
	count, first, was := 0, "", fs.FileMode(0)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(fileMode)
		switch {
		case entry.IsDir():
			mode = dirMode
		case !entry.Type().IsRegular():
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&^mode == 0 {
			return nil
		}
		if count++; count == 1 {
			first, was = path, info.Mode().Perm()
		}
		return os.Chmod(path, info.Mode().Perm()&mode)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // another process may be about to open it, and clears up
		return fmt.Errorf("take permissions away that others have: %w", err)
	}
	if count > 0 {
		logger.Warn("others could read the data directory, they can't any more", "path", first, "was", was.String(), "count", count)
	}
	return nil
}
