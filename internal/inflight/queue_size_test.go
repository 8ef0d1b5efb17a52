package inflight

import (
	"testing"
	"unsafe"
)

// A session places its queue by this: both pumps write these bytes for each frame.
func TestQueueWritesOneCacheLine(t *testing.T) {
	var q Queue
	if end := unsafe.Offsetof(q.waiting) + unsafe.Sizeof(q.waiting); end > 40 {
		t.Errorf("the last field that is written for each frame ends at byte %d, want 40 at most", end)
	}
}
