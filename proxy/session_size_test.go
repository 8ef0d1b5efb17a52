package proxy

import (
	"testing"
	"unsafe"
)

// The session is the largest part of an idle connection. Beyond 1024 bytes the next size class
// is 1152.
func TestSessionIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(session{}); size > 1024 {
		t.Errorf("a session has %d bytes, want 1024 at most", size)
	}
}
