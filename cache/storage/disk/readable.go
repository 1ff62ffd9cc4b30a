package disk

import (
	"errors"

	"edge/cache/storage/vfs"
)

// Readable returns an error if another version than this has the disk at dir: then Open
// will be refused, and what must not be changed before that can be left alone. What else
// is wrong with the disk is for Open to say.
func Readable(files vfs.FS, dir string) error {
	if _, err := checkFormat(files, dir); errors.Is(err, errVersion) {
		return err
	}
	return nil
}
