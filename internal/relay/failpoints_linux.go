//go:build failpoints

package relay

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// failpoints says that system calls can be made to fail.
const failpoints = true

// failpoint is one fault of one system call.
type failpoint int

// The faults. Those up to lastSoft change nothing for the peers: a call is repeated, or moves
// fewer bytes, or the stream copies. The others end a session.
//
// A recv or send whose caller waits after EAGAIN never gets one: the poller would wait for an
// event that the kernel has reported already.
const (
	failRecvEINTR failpoint = iota
	failRecvShort
	failSendEINTR
	failSendShort
	failPipeWriteEAGAIN // write(2) into a kernel pipe
	failSpliceEINTR
	failSpliceShort
	failSpliceEAGAIN // from a socket that has bytes, or from a pipe
	failSpliceEINVAL
	failPoll     // ppoll
	failRoom     // SO_MEMINFO
	failReadMore // EAGAIN of a recv that does not wait
	failPipe     // EMFILE
	failPipeSize // F_GETPIPE_SZ

	failRecvENOMEM
	failSendENOBUFS
	failSendEPIPE
	failSpliceENOMEM
	failSpliceEPIPE
	failPipeReadEIO

	failpointCount
)

const lastSoft = failPipeSize

var names = [failpointCount]string{
	"recv: EINTR", "recv: short", "send: EINTR", "send: short", "write into a pipe: EAGAIN", "splice: EINTR", "splice: short", "splice: EAGAIN",
	"splice: EINVAL", "ppoll", "SO_MEMINFO", "recv that does not wait: EAGAIN", "pipe2: EMFILE", "F_GETPIPE_SZ",
	"recv: ENOMEM", "send: ENOBUFS", "send: EPIPE", "splice: ENOMEM", "splice: EPIPE", "read from a pipe: EIO",
}

// Failpoints are faults that come now and then, at random.
type Failpoints struct {
	mu     sync.Mutex // guards random
	random *rand.Rand
	oneIn  int
	hard   bool
	counts [failpointCount]atomic.Int64
}

// armed are the faults of this process; nil: none.
var armed atomic.Pointer[Failpoints]

// Arm has one in so many system calls fail, in ways that a seed chooses. hard adds the faults
// that end sessions. Disarm ends it.
func Arm(seed uint64, oneIn int, hard bool) *Failpoints {
	f := &Failpoints{random: rand.New(rand.NewPCG(seed, 0)), oneIn: oneIn, hard: hard}
	armed.Store(f)
	return f
}

// Disarm has no more system calls fail.
func Disarm() { armed.Store(nil) }

// Missing lists the faults that have not come.
func (f *Failpoints) Missing() (all []string) {
	for point := range failpointCount {
		if f.counts[point].Load() == 0 && (f.hard && point != failSpliceEAGAIN || point <= lastSoft && !f.hard) {
			all = append(all, names[point])
		}
	}
	return all
}

// Count is how many faults have come.
func (f *Failpoints) Count() (n int64) {
	for i := range f.counts {
		n += f.counts[i].Load()
	}
	return n
}

// fails reports whether a fault comes now.
func fails(point failpoint) bool {
	f := armed.Load()
	if f == nil || point > lastSoft && !f.hard || point == failSpliceEAGAIN && f.hard { // the recv behind it must not fail
		return false
	}
	oneIn := f.oneIn
	switch point {
	case failPipe, failPipeSize, failPipeWriteEAGAIN, failPipeReadEIO:
		oneIn = 4 // these calls are few
	case failSpliceEINVAL:
		oneIn *= 4 // a stream that copies splices no more
	}
	if point > lastSoft {
		oneIn *= 10
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.random.IntN(oneIn) > 0 {
		return false
	}
	f.counts[point].Add(1)
	return true
}

// part is a number of bytes from one to n.
func part(n int) int {
	f := armed.Load()
	if f == nil || n < 2 {
		return n
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return 1 + f.random.IntN(n)
}

// failSplice returns the error of a splice, or how many bytes it moves at most.
func failSplice(from, n int) (int, unix.Errno) {
	switch {
	case fails(failSpliceEINTR):
		return n, unix.EINTR
	case fails(failSpliceEAGAIN) && holdsBytes(from):
		return n, unix.EAGAIN
	case fails(failSpliceEINVAL):
		return n, unix.EINVAL
	case fails(failSpliceENOMEM):
		return n, unix.ENOMEM
	case fails(failSpliceEPIPE):
		return n, unix.EPIPE
	case fails(failSpliceShort):
		return part(n), 0
	default:
		return n, 0
	}
}

// holdsBytes reports whether a descriptor is that of a socket with bytes, or of a pipe.
func holdsBytes(fd int) bool {
	n, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return n > 0 || err == unix.ENOTSOCK //nolint:errorlint // unix returns an Errno
}

// failCall returns the error of a call, or the part of the buffer that it uses.
func failCall(trap uintptr, b []byte) ([]byte, unix.Errno) {
	switch trap {
	case unix.SYS_RECVFROM:
		return failBy(b, failRecvEINTR, failRecvShort, faultOf{failRecvENOMEM, unix.ENOMEM})
	case unix.SYS_SENDTO:
		return failBy(b, failSendEINTR, failSendShort, faultOf{failSendENOBUFS, unix.ENOBUFS}, faultOf{failSendEPIPE, unix.EPIPE})
	case unix.SYS_WRITE:
		if fails(failPipeWriteEAGAIN) {
			return b, unix.EAGAIN
		}
	case unix.SYS_READ:
		if fails(failPipeReadEIO) {
			return b, unix.EIO
		}
	}
	return b, 0
}

// faultOf is an error of a call.
type faultOf struct {
	point failpoint
	errno unix.Errno
}

func failBy(b []byte, interrupted, short failpoint, errs ...faultOf) ([]byte, unix.Errno) {
	if fails(interrupted) {
		return b, unix.EINTR
	}
	for _, e := range errs {
		if fails(e.point) {
			return b, e.errno
		}
	}
	if fails(short) {
		return b[:part(len(b))], 0
	}
	return b, 0
}
