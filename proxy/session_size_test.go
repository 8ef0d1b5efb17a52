package proxy

import (
	"testing"
	"unsafe"
)

// header is the number of bytes that the allocator keeps in front of an object of this size.
const header = 8

// The session is the largest part of an idle connection. Beyond 1024 bytes the next size class
// is 1152.
func TestSessionIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(session{}); header+size > 1024 {
		t.Errorf("a session has %d bytes, want %d at most", size, 1024-header)
	}
}

// Two processors that write to one cache line wait for each other at each write. The fields that
// a pump writes for each frame are in the first 192 bytes of a stream and the first 40 of the
// queue, by tests of their packages.
func TestPumpsShareNoCacheLine(t *testing.T) {
	const line, stream, queue = 64, 192, 40
	var s session
	for name, part := range map[string]struct{ begin, size uintptr }{
		"up":    {unsafe.Offsetof(s.up), stream},
		"down":  {unsafe.Offsetof(s.down), stream},
		"queue": {unsafe.Offsetof(s.queue), queue},
	} {
		begin := (header + part.begin) % line
		if want := (part.size + line - 1) / line; (begin+part.size+line-1)/line != want {
			t.Errorf("%s is on more than %d cache lines: it begins at byte %d of one", name, want, begin)
		}
	}
	if unsafe.Offsetof(s.queue)-unsafe.Offsetof(s.down) < stream {
		t.Error("the queue is not behind the stream of responses")
	}
}
