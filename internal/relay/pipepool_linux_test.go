package relay

import (
	"os"
	"sync"
	"testing"
)

// Concurrent callers get no more pipes than there are, and Close closes all.
func TestDuctsAreBounded(t *testing.T) {
	if NewPipePool(-1) != nil {
		t.Error("a budget of none is one")
	}
	if got := NewPipePool(1000).Files(); got != 2*maxPipes {
		t.Errorf("a budget takes %d files, want %d at most", got, 2*maxPipes)
	}
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	before := open()
	d := NewPipePool(3)
	held := []*kernelPipe{d.get(), d.get(), d.get()}
	if d.get() != nil {
		t.Error("there are more than the budget has")
	}
	for _, one := range held {
		d.put(one)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if one := d.get(); one != nil {
					d.put(one)
				}
			}
		})
	}
	all.Wait()
	if got := open(); got > before+6 {
		t.Errorf("%d files are open, want %d at most", got, before+6)
	}
	d.Close()
	if got := open(); got > before {
		t.Errorf("%d files are open, want %d", got, before)
	}
}
