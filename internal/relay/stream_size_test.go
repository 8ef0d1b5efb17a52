package relay

import (
	"testing"
	"unsafe"
)

// A session places its two streams by this: the other pump must not use the lines that are
// written for each frame.
func TestStreamWritesThreeCacheLines(t *testing.T) {
	var p Stream
	if end := unsafe.Offsetof(p.reads) + unsafe.Sizeof(p.reads); end > 192 {
		t.Errorf("the last field that is written for each frame ends at byte %d, want 192 at most", end)
	}
}
