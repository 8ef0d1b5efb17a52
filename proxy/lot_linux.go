package proxy

import (
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"kproxy/internal/logkey"
	"kproxy/internal/relay"
)

// lot is where sessions are parked: those that have been silent for a while, and
// owe nothing. What they have of goroutines, 4 KiB of stack each and two for a
// session, is most of what an idle connection costs. Their sockets wait in one
// epoll set, each for one event; the first one of either has the session go on,
// which reads then what has come. Nothing is read here.
type lot struct {
	log  *slog.Logger
	done sync.WaitGroup

	mu       sync.Mutex // guards the following, and session.ticket
	last     uint64     // ticket
	sessions map[uint64]*session
	fd       int      // the epoll set; made for the first session
	file     *os.File // the same, which the runtime's poller waits for in turn; nil: there is none
	closed   bool     // no session is parked: the system had no epoll set left, or the proxy stops
	kept     int      // sessions parked whose memory was not given back to the system
}

// The system is given back what sessions had, which the runtime would keep for
// minutes, when worthFreeing of them have been parked, and one in freeingPart of
// all that are: it takes a collection.
const (
	worthFreeing = 256
	freeingPart  = 8
)

// free gives the system back what sessions had that were parked lately.
func (l *lot) free() {
	l.mu.Lock()
	worth := l.kept >= max(worthFreeing, len(l.sessions)/freeingPart)
	if worth {
		l.kept = 0
	}
	l.mu.Unlock()
	if worth {
		debug.FreeOSMemory()
	}
}

// open makes the epoll set if there is none yet, and reports whether there is one.
// The caller holds mu.
func (l *lot) open() bool {
	if l.file != nil || l.closed {
		return !l.closed
	}
	raw, err := l.create()
	if err != nil {
		l.log.Warn("silent sessions keep their goroutines", slog.Any(logkey.Error, err))
		l.closed = true
		return false
	}
	l.sessions = map[uint64]*session{}
	l.done.Go(func() { l.run(raw) })
	return true
}

func (l *lot) create() (syscall.RawConn, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or the runtime would not poll the file
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	l.fd, l.file = fd, os.NewFile(uintptr(fd), "lot")
	return l.file.SyscallConn()
}

// close ends the lot, which is empty.
func (l *lot) close() {
	l.mu.Lock()
	l.closed = true
	if l.file != nil {
		_ = l.file.Close() // ends run
	}
	l.mu.Unlock()
	l.done.Wait()
}

// run has sessions go on until the lot is closed.
func (l *lot) run(set syscall.RawConn) {
	events := make([]unix.EpollEvent, 128)
	for {
		var n int
		var failed error
		err := set.Read(func(fd uintptr) (done bool) {
			n, failed = unix.EpollWait(int(fd), events, 0)
			return n > 0 || failed != nil && failed != unix.EINTR
		})
		if err != nil || failed != nil {
			return
		}
		l.mu.Lock()
		for _, e := range events[:n] {
			// Both sockets of a session may have one, and one may be of an
			// earlier stay.
			if s := l.sessions[ticketOf(e)]; s != nil {
				l.release(s)
			}
		}
		l.mu.Unlock()
	}
}

func ticketOf(e unix.EpollEvent) uint64 { return uint64(uint32(e.Pad))<<32 | uint64(uint32(e.Fd)) }

// park has a session wait whose pumps have ended. It reports whether it does: not
// if it has been asked to leave, or has been cut, meanwhile.
func (l *lot) park(s *session) bool {
	s.stay()
	s.lighten()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	if !l.open() || !l.await(s) {
		return false
	}
	// A goroutine that wants the session to go on notes the reason first, and then wakes it.
	if s.life.asks()&(askEnd|askLogin) != 0 || s.life.ended() != nil {
		return false
	}
	l.kept++
	s.ticket = l.last
	l.sessions[s.ticket] = s
	return true
}

// await has the sockets of a session report their next event under the last
// ticket. One that is closed, or that finds no room, has the session go on.
func (l *lot) await(s *session) bool {
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT,
		Fd:     int32(uint32(l.last)), Pad: int32(uint32(l.last >> 32)),
	}
	for _, raw := range []syscall.RawConn{relay.RawConnOf(s.client.conn), relay.RawConnOf(s.broker.conn)} {
		var failed error
		err := raw.Control(func(socket uintptr) {
			// A socket that was here before is in the set yet.
			failed = unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, int(socket), &event)
			if failed == unix.EEXIST {
				failed = unix.EpollCtl(l.fd, unix.EPOLL_CTL_MOD, int(socket), &event)
			}
		})
		if err != nil || failed != nil {
			return false
		}
	}
	return true
}

// wake has a session go on, if it is parked.
func (l *lot) wake(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.ticket != 0 {
		l.release(s)
	}
}

// release has a parked session go on. The caller holds mu.
func (l *lot) release(s *session) {
	delete(l.sessions, s.ticket)
	s.ticket = 0
	go s.proxy.run(s, true)
}

// takes reports whether a session is of a kind that can be parked, and is not.
func (l *lot) takes(s *session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.broker.plain && s.ticket == 0 && !l.closed
}
