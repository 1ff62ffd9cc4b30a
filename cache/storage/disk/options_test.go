package disk

import (
	"fmt"
	"testing"
)

// TestDisksOfAnySize: a disk of any size that a configuration may name can be had, alone
// or beside one of half its size, and all of it be used.
func TestDisksOfAnySize(t *testing.T) {
	for size := int64(16 << 20); size <= 1024<<40; size = size*3/2 + 12345 {
		for _, disks := range [][]Disk{{{"/a", size}}, {{"/a", size}, {"/b", max(size/2, MinSize)}}} {
			t.Run(fmt.Sprint(size>>20, " MiB of ", len(disks)), func(t *testing.T) {
				s, err := Options{Disks: disks, Clock: testClock}.complete()
				if err != nil {
					t.Fatal(err)
				}
				if s.segmentSize*int64(s.segments) < size || s.segmentSize > maxSegment {
					t.Errorf("%d segments of %d bytes", s.segments, s.segmentSize)
				}
			})
		}
	}
}
