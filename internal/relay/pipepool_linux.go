package relay

import (
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxPipeSize is the size of one kernel pipe, and budgetSize that of all together: a
	// quarter of the kernel's default for one user. A pipe has one place for each page of
	// its size. A packet from a network with 1,500-byte packets takes a whole place, so
	// that 64 places hold some 90 KB.
	maxPipeSize = 1 << 20
	budgetSize  = 16 << 20
	// minPipeSize is the smallest useful size. A user above fs.pipe-user-pages-soft gets
	// pipes with two places, and a splice of less than 3 KB costs more than a copy.
	minPipeSize = 64 << 10
	// maxPipes bounds the pool. With so many pipes, each has 256 KiB.
	maxPipes = 64
	// pipesPerCore gives the size of the pool. A pipe is in use for two system calls at
	// most, so more pipes than cores are in use only while the kernel has interrupted a
	// thread between the two.
	pipesPerCore = 4
	// pipeRetry is how long the pool asks for no further pipe after the kernel has refused
	// one.
	pipeRetry = time.Second
	// filesPerPipe is the number of descriptors of one pipe: its two ends.
	filesPerPipe = 2
)

// kernelPipe is a pipe(2), through which bytes are spliced from one socket to another. It
// is empty while it is not in use.
type kernelPipe struct{ in, out int }

// PipePool has the kernel pipes that all sessions share. They are made when they are needed,
// and kept. No stream holds one while it waits for a socket, so that a few pipes serve any
// number of sessions (see splice). A nil pool has none: everything is copied.
type PipePool struct {
	max   int
	size  int // of each, in bytes: a power of two
	made  atomic.Int32
	retry atomic.Int64 // no pipe is made before this time, in nanoseconds of time.Since(start)
	start time.Time
	free  [maxPipes]atomic.Pointer[kernelPipe] // nil: a place for a pipe that is given back

	hidden  atomic.Int64          // streams with a source that has bytes which splice did not find (see hasBytes)
	refused atomic.Int64          // streams that the system refuses to splice
	refusal atomic.Pointer[error] // the first error of such a stream
	noPipes atomic.Pointer[error] // the error by which the system refuses every kernel pipe
}

// Hidden returns how many streams had a source whose bytes splice did not find, and copy since.
func (d *PipePool) Hidden() int64 {
	if d == nil {
		return 0
	}
	return d.hidden.Load()
}

// Refused returns how many streams the system has refused to splice, which copy since, and the
// error of the first one.
func (d *PipePool) Refused() (int64, error) {
	if d == nil {
		return 0, nil
	}
	if err := d.refusal.Load(); err != nil {
		return d.refused.Load(), *err
	}
	return 0, nil
}

// NewPipePool returns a pool of n pipes. 0 stands for pipesPerCore for each processor; below
// 0, NewPipePool returns nil.
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

// pipeSize is the size of each of n pipes.
func pipeSize(n int) int {
	size := maxPipeSize
	for size*n > budgetSize {
		size /= 2
	}
	return size
}

// Files is how many file descriptors the pool may use.
func (d *PipePool) Files() int {
	if d == nil {
		return 0
	}
	return filesPerPipe * d.max
}

// get returns a pipe, or nil if all are in use.
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

// put gives back a pipe, which must be empty.
func (d *PipePool) put(one *kernelPipe) {
	for i := range d.free[:d.max] {
		if place := &d.free[i]; place.Load() == nil && place.CompareAndSwap(nil, one) {
			return
		}
	}
	d.destroy(one) // other goroutines may have filled the places meanwhile
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
	if failpoints && fails(failPipe) { // EMFILE
		d.made.Add(-1)
		d.retry.Store(now + int64(pipeRetry))
		return nil
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		d.made.Add(-1)
		d.retry.Store(now + int64(pipeRetry))
		if refuses(err) {
			err = os.NewSyscallError("pipe2", err)
			d.noPipes.CompareAndSwap(nil, &err)
		}
		return nil
	}
	one := &kernelPipe{out: ends[0], in: ends[1]}
	// If this fails, the pipe keeps its size.
	_, _ = unix.FcntlInt(uintptr(one.in), unix.F_SETPIPE_SZ, d.size)
	if size, err := unix.FcntlInt(uintptr(one.in), unix.F_GETPIPE_SZ, 0); err != nil || size < minPipeSize || failpoints && fails(failPipeSize) {
		d.destroy(one)
		d.retry.Store(now + int64(pipeRetry))
		return nil
	}
	return one
}

// destroy closes a pipe. Bytes in it are lost.
func (d *PipePool) destroy(one *kernelPipe) {
	_ = unix.Close(one.in) // nothing can be done about an error
	_ = unix.Close(one.out)
	d.made.Add(-1)
}

// Close closes all pipes. None may be in use.
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
