package proxy

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxDuctSize is the room that a duct is given, and budgetSize that of all: a
	// quarter of what the kernel gives one user by default. What counts is the number
	// of places, one for each page of it: a packet from a network of 1,500-byte
	// packets takes a whole place, so that 64 places hold some 90 KB.
	maxDuctSize = 1 << 20
	budgetSize  = 16 << 20
	// minDuctSize is what a duct must have to be of use. A user who has used up
	// fs.pipe-user-pages-soft gets two places, and a splice of less than 3 KB
	// costs more than a copy.
	minDuctSize = 64 << 10
	// maxDucts bounds the budget, of which each has 256 KiB then.
	maxDucts = 64
	// ductsPerCore is the budget. A duct is in use while bytes are on their way
	// through it, which is never longer than two system calls: more are in use
	// than there are cores only where the kernel has interrupted somebody.
	ductsPerCore = 4
	// ductRetry is how long no further duct is asked for, after the kernel has
	// given none.
	ductRetry = time.Second
	// filesPerDuct are its two ends.
	filesPerDuct = 2
)

// duct is a pipe in the kernel, through which bytes are spliced from one socket
// to another. One that is not in use is empty.
type duct struct{ in, out int }

// ducts is a budget of ducts that all sessions share. They are made when they
// are needed, and kept. None is ever held while somebody waits for a socket, so
// that few are enough for any number of sessions: see splice.
type ducts struct {
	max   int
	size  int // of each, in bytes: a power of two
	made  atomic.Int32
	retry atomic.Int64 // no duct is made before this time, in nanoseconds of time.Since(start)
	start time.Time
	free  [maxDucts]atomic.Pointer[duct] // a nil is a place for a duct that is given back
}

// newDucts returns a budget of n ducts; 0: as the machine suggests, less than 0:
// none, so that everything is copied.
func newDucts(n int) *ducts {
	if n < 0 {
		return nil
	}
	if n == 0 {
		n = defaultDucts()
	}
	n = min(n, maxDucts)
	return &ducts{max: n, size: ductSize(n), start: time.Now()}
}

// ductSize is the room that each of n ducts is given.
func ductSize(n int) int {
	size := maxDuctSize
	for size*n > budgetSize {
		size /= 2
	}
	return size
}

// files is how many file descriptors the budget may take.
func (d *ducts) files() int {
	if d == nil {
		return 0
	}
	return filesPerDuct * d.max
}

// get returns a duct, or nil if all are in use.
func (d *ducts) get() *duct {
	for i := range d.free[:d.max] {
		if place := &d.free[i]; place.Load() != nil {
			if one := place.Swap(nil); one != nil {
				return one
			}
		}
	}
	return d.make()
}

// put gives back a duct that is empty.
func (d *ducts) put(one *duct) {
	for i := range d.free[:d.max] {
		if place := &d.free[i]; place.Load() == nil && place.CompareAndSwap(nil, one) {
			return
		}
	}
	d.destroy(one) // others may have moved from place to place meanwhile
}

func (d *ducts) make() *duct {
	now := int64(time.Since(d.start))
	if now < d.retry.Load() {
		return nil
	}
	if d.made.Add(1) > int32(d.max) {
		d.made.Add(-1)
		return nil
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		d.made.Add(-1)
		d.retry.Store(now + int64(ductRetry))
		return nil
	}
	one := &duct{out: ends[0], in: ends[1]}
	// A failure leaves the size that it has.
	_, _ = unix.FcntlInt(uintptr(one.in), unix.F_SETPIPE_SZ, d.size)
	if size, err := unix.FcntlInt(uintptr(one.in), unix.F_GETPIPE_SZ, 0); err != nil || size < minDuctSize {
		d.destroy(one)
		d.retry.Store(now + int64(ductRetry))
		return nil
	}
	return one
}

// destroy closes a duct, whatever is in it.
func (d *ducts) destroy(one *duct) {
	_ = unix.Close(one.in) // nothing is left to do about an error
	_ = unix.Close(one.out)
	d.made.Add(-1)
}

// close closes all ducts. None may be in use.
func (d *ducts) close() {
	if d == nil {
		return
	}
	for i := range d.free {
		if one := d.free[i].Swap(nil); one != nil {
			d.destroy(one)
		}
	}
}
