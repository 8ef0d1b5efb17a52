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

// parkedSet holds the parked sessions: those that have been silent for a while, and have no request
// in flight. A parked session has no goroutines. Two goroutines with 4 KiB of stack each would
// be most of the memory of an idle connection. The two sockets of each session wait in one
// epoll set, each for one event. The first event wakes the session, which then reads the
// bytes. parkedSet itself reads nothing.
type parkedSet struct {
	log  *slog.Logger
	done sync.WaitGroup

	mu       sync.Mutex // guards the following, and session.token
	last     uint64     // token
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
func (l *parkedSet) free() {
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

// open makes the epoll set if there is none yet. If the system has none left, the parked set is
// closed. The caller holds mu.
func (l *parkedSet) open() error {
	if l.file != nil || l.closed {
		return nil
	}
	raw, err := l.create()
	if err != nil {
		l.closed = true
		return err
	}
	l.sessions = map[uint64]*session{}
	l.done.Go(func() { l.run(raw) })
	return nil
}

func (l *parkedSet) create() (syscall.RawConn, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or the runtime would not poll the file
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	l.fd, l.file = fd, os.NewFile(uintptr(fd), "parked sessions")
	return l.file.SyscallConn()
}

// close ends the parked set, which is empty.
func (l *parkedSet) close() {
	l.mu.Lock()
	l.closed = true
	if l.file != nil {
		_ = l.file.Close() // ends run
	}
	l.mu.Unlock()
	l.done.Wait()
}

// run has sessions go on until the parked set is closed.
func (l *parkedSet) run(set syscall.RawConn) {
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
func (l *parkedSet) park(s *session) bool {
	s.stay()
	s.lighten()
	parked, err := l.add(s)
	if err != nil {
		l.log.Warn("silent sessions keep their goroutines", slog.Any(logkey.Error, err))
	}
	if !parked && s.life.asks()&askQuiet != 0 { // stay may have cleared the deadline that came with it
		s.wake()
	}
	return parked
}

// add is park for a session that needs nothing else. The error says that the system has no
// epoll set for kproxy; it comes once.
func (l *parkedSet) add(s *session) (parked bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	if err := l.open(); err != nil {
		return false, err
	}
	if l.closed || !l.await(s) {
		return false, nil
	}
	// A goroutine that wants the session to go on asks first, and then wakes it. An ask whether it idles is for
	// the pumps: in the parked set it would stand until the client next sends.
	if s.life.asks()&(askEnd|askLogin|askQuiet) != 0 || s.life.ended() != nil {
		return false, nil
	}
	l.kept++
	s.token = l.last
	l.sessions[s.token] = s
	return true, nil
}

// await has the sockets of a session report their next event under the last
// token. One that is closed, or that finds no room, has the session go on.
func (l *parkedSet) await(s *session) bool {
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
func (l *parkedSet) wake(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.token != 0 {
		l.release(s)
	}
}

// release has a parked session go on. The caller holds mu.
func (l *parkedSet) release(s *session) {
	delete(l.sessions, s.token)
	s.token = 0
	go s.proxy.run(s, true)
}

// takes reports whether a session is of a kind that can be parked, and is not.
func (l *parkedSet) takes(s *session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.broker.plain && s.token == 0 && !l.closed
}
