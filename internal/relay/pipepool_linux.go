package relay

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
	maxPipeSize = 1 << 20
	budgetSize  = 16 << 20
	// minDuctSize is what a duct must have to be of use. A user who has used up
	// fs.pipe-user-pages-soft gets two places, and a splice of less than 3 KB
	// costs more than a copy.
	minPipeSize = 64 << 10
	// maxDucts bounds the budget, of which each has 256 KiB then.
	maxPipes = 64
	// ductsPerCore is the budget. A duct is in use while bytes are on their way
	// through it, which is never longer than two system calls: more are in use
	// than there are cores only where the kernel has interrupted somebody.
	pipesPerCore = 4
	// ductRetry is how long no further duct is asked for, after the kernel has
	// given none.
	pipeRetry = time.Second
	// filesPerDuct are its two ends.
	filesPerPipe = 2
)

// duct is a pipe in the kernel, through which bytes are spliced from one socket
// to another. One that is not in use is empty.
type kernelPipe struct{ in, out int }

// ducts is a budget of ducts that all sessions share. They are made when they
// are needed, and kept. None is ever held while somebody waits for a socket, so
// that few are enough for any number of sessions: see splice.
type PipePool struct {
	max   int
	size  int // of each, in bytes: a power of two
	made  atomic.Int32
	retry atomic.Int64 // no duct is made before this time, in nanoseconds of time.Since(start)
	start time.Time
	free  [maxPipes]atomic.Pointer[kernelPipe] // a nil is a place for a duct that is given back
}

// newDucts returns a budget of n ducts; 0: as the machine suggests, less than 0:
// none, so that everything is copied.
func NewPipePool(n int) *PipePool {
	if n < 0 {
		return nil
	}
	if n == 0 {
		n = defaultPipes()
	}
	n = min(n, maxPipes)
	return &PipePool{max: n, size: pipeSize(n), start: time.Now()}
}

// ductSize is the room that each of n ducts is given.
func pipeSize(n int) int {
	size := maxPipeSize
	for size*n > budgetSize {
		size /= 2
	}
	return size
}

// files is how many file descriptors the budget may take.
func (d *PipePool) Files() int {
	if d == nil {
		return 0
	}
	return filesPerPipe * d.max
}

// get returns a duct, or nil if all are in use.
func (d *PipePool) get() *kernelPipe {
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
func (d *PipePool) put(one *kernelPipe) {
	for i := range d.free[:d.max] {
		if place := &d.free[i]; place.Load() == nil && place.CompareAndSwap(nil, one) {
			return
		}
	}
	d.destroy(one) // others may have moved from place to place meanwhile
}

func (d *PipePool) make() *kernelPipe {
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
		d.retry.Store(now + int64(pipeRetry))
		return nil
	}
	one := &kernelPipe{out: ends[0], in: ends[1]}
	// A failure leaves the size that it has.
	_, _ = unix.FcntlInt(uintptr(one.in), unix.F_SETPIPE_SZ, d.size)
	if size, err := unix.FcntlInt(uintptr(one.in), unix.F_GETPIPE_SZ, 0); err != nil || size < minPipeSize {
		d.destroy(one)
		d.retry.Store(now + int64(pipeRetry))
		return nil
	}
	return one
}

// destroy closes a duct, whatever is in it.
func (d *PipePool) destroy(one *kernelPipe) {
	_ = unix.Close(one.in) // nothing is left to do about an error
	_ = unix.Close(one.out)
	d.made.Add(-1)
}

// close closes all ducts. None may be in use.
func (d *PipePool) Close() {
	if d == nil {
		return
	}
	for i := range d.free {
		if one := d.free[i].Swap(nil); one != nil {
			d.destroy(one)
		}
	}
}
