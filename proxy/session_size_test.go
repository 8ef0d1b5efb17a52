package proxy

import (
	"testing"
	"unsafe"
)

// A session is what an idle connection costs most; beyond 1024 bytes the next size that
// is allocated is 1152.
func TestSessionIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(session{}); size > 1024 {
		t.Errorf("a session has %d bytes, want 1024 at most", size)
	}
}
