package purge

import (
	"errors"
	"fmt"
)

// errOther: what is at the journal's path is not what was read when the process began.
var errOther = errors.New("purge: the journal is not what it was when it was read")

// continueInPlace has the journal that was read, c, go on in the file that it is in, for
// want of room for another: a file system that is full keeps no process from starting
// that was started on it before. What is written is the start record only, behind the
// others, as a purge would be: in the reserve or the file's last block there is room for
// it as a rule. c must be believed, and no torn tail be behind it. Where it fails, what is
// left is the journal that was read, or that with a torn tail.
func (j *journal) continueInPlace(c *contents, began uint64) error {
	data, err := j.fs.ReadFile(j.path, maxJournal)
	if err != nil {
		return fmt.Errorf("purge: reading the journal: %w", err)
	}
	// An attempt to write it anew may have failed when the new one was there already.
	at, err := parseJournal(data)
	if err != nil || at.damage != nil || at.epoch != c.epoch || at.last != c.last || at.good != c.good {
		return errors.Join(errOther, err)
	}
	start := appendStart(nil, began, j.clock())
	end := c.good + int64(len(start))
	if int64(len(trimZeros(data))) > c.good {
		return errors.New("purge: the journal has a torn tail")
	}
	f, err := j.fs.Open(j.path)
	if err != nil {
		return fmt.Errorf("purge: opening the journal: %w", err)
	}
	if _, err = f.WriteAt(start, c.good); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("purge: writing the journal: %w", err), f.Close())
	}
	j.lean = true
	j.adopt(f, end, max(end, int64(len(data))), began)
	return nil
}
