package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"kproxy/internal/wait"
)

// Variable is the environment variable with the number of the descriptor by which a new process
// reaches the old one.
const Variable = "KPROXY_HANDOVER_FD"

const (
	// patience is how much longer the new process waits for the old one than that gives it.
	patience = 5 * time.Second
	// endWait is how long the end of the old process may take once its connection has ended, and
	// endLook how often it is looked for.
	endWait = 5 * time.Second
	endLook = 10 * time.Millisecond
	// namedWait is how long this process waits for the predecessor to name it.
	namedWait = 3 * time.Second
)

// Predecessor is the process whose sockets this one takes over. nil is none: a process that was
// started in the ordinary way. All methods are for nil, too, and do nothing then.
//
// If the predecessor ends before it has committed, this process is the only one, and serves: the
// methods return at once, and IsLost reports true.
type Predecessor struct {
	// Sockets are those that it has passed, after Receive.
	Sockets Sockets

	link  *link
	pid   int
	hello helloBody
	ended func() bool   // reports whether the process has ended
	named chan struct{} // closed by follow

	mu   sync.Mutex // guards the following
	lost bool
	now  Report
}

// Report is about the predecessor of a process that serves.
type Report struct {
	Took     time.Time // when it was taken over from; zero: there was none, or it was lost
	Until    time.Time // when its drain ends at the latest
	Sessions int       // that it still has, as it has told
	Ended    time.Time // zero: it still drains
}

// Draining returns how long the predecessor may still drain; ok is false if there is none that does.
func (r *Report) Draining(now time.Time) (left time.Duration, ok bool) {
	if r.Took.IsZero() || !r.Ended.IsZero() {
		return 0, false
	}
	return max(r.Until.Sub(now), 0), true
}

// Inherit returns the predecessor that started this process; nil: none did. It removes the variable
// from the environment, so that commands which this process runs do not have it.
func Inherit() (*Predecessor, error) {
	text, ok := os.LookupEnv(Variable)
	if !ok {
		return nil, nil
	}
	_ = os.Unsetenv(Variable) // it exists
	descriptor, err := strconv.Atoi(text)
	if err != nil || descriptor < childDescriptor {
		return nil, fmt.Errorf("%s is %q, which is not the number of a descriptor; unset it", Variable, text)
	}
	conn, err := connOf(descriptor)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; unset it: only kproxy upgrade sets it", Variable, err)
	}
	return newPredecessor(conn), nil
}

func newPredecessor(conn *net.UnixConn) *Predecessor {
	p := &Predecessor{link: &link{conn: conn}, pid: peerOf(conn), named: make(chan struct{})}
	p.ended = func() bool { return os.Getppid() != p.pid }
	return p
}

// Receive takes the sockets.
func (p *Predecessor) Receive(ctx context.Context) error {
	return p.step(ctx, func() error {
		m, err := p.expect(kindHello)
		if err != nil {
			return err
		}
		if err := m.decode(&p.hello); err != nil {
			return err
		}
		h := &p.hello
		if h.Protocol != protocol {
			return fmt.Errorf("the running kproxy hands over by version %d of the protocol, and this one takes version %d; restart kproxy instead", h.Protocol, protocol)
		}
		if h.Sockets < 0 || h.Sockets > maxSockets || h.Timeout <= 0 || h.Drain < 0 || h.IDsAbove > maxID {
			return fmt.Errorf("a hello that cannot be: %d sockets, %v to become ready, %v to drain, ids above %d", h.Sockets, h.Timeout, h.Drain, h.IDsAbove)
		}
		_ = p.link.conn.SetDeadline(time.Now().Add(h.Timeout + patience))
		for left := h.Sockets; left > 0; {
			n, err := p.receiveSockets(left)
			if err != nil {
				return err
			}
			left -= n
		}
		return nil
	})
}

// receiveSockets takes a batch of at most so many.
func (p *Predecessor) receiveSockets(most int) (n int, err error) {
	m, err := p.expect(kindSockets)
	if err != nil {
		return 0, err
	}
	var body socketsBody
	err = m.decode(&body)
	if err == nil && (len(body.Addresses) != len(m.files) || len(m.files) == 0 || len(m.files) > most) {
		err = fmt.Errorf("%d sockets with %d addresses, and %d are left", len(m.files), len(body.Addresses), most)
	}
	if err != nil {
		closeAll(m.files)
		return 0, err
	}
	for i, address := range body.Addresses {
		socket, err := adopt(m.files[i], address)
		if err == nil {
			if err = p.Sockets.Add(address, socket); err != nil {
				_ = socket.Close()
			}
		}
		if err != nil {
			closeAll(m.files[i+1:])
			return 0, err
		}
	}
	return len(m.files), nil
}

// IDsAbove is above the ids of the predecessor's connections; 0: there is none, or it does not say
// so.
func (p *Predecessor) IDsAbove() uint64 {
	if p == nil {
		return 0
	}
	return p.hello.IDsAbove
}

// Status tells the predecessor why this process is not ready yet.
func (p *Predecessor) Status(ctx context.Context, text string) error {
	return p.step(ctx, func() error { return p.link.send(kindStatus, textBody{lines(text)[0]}) })
}

// AwaitState waits until the predecessor has given up the state files. Everything else that can
// fail comes before.
func (p *Predecessor) AwaitState(ctx context.Context) error {
	return p.step(ctx, func() error {
		if err := p.link.send(kindBound, nil); err != nil {
			return err
		}
		_, err := p.expect(kindReleased)
		return err
	})
}

// AwaitTurn says that this process is ready, and waits for its turn to serve. The predecessor shows
// the version.
func (p *Predecessor) AwaitTurn(ctx context.Context, version string) error {
	return p.step(ctx, func() error {
		if err := p.link.send(kindReady, readyBody{version}); err != nil {
			return err
		}
		_, err := p.expect(kindCommit)
		return err
	})
}

// Serving says that this process accepts connections. From now on, Report follows the predecessor
// until its end.
func (p *Predecessor) Serving() {
	if p == nil || p.IsLost() {
		return
	}
	_ = p.link.send(kindServing, nil) // an end shows to follow
	_ = p.link.conn.SetDeadline(time.Time{})
	now := time.Now()
	p.mu.Lock()
	p.now.Took, p.now.Until = now, now.Add(p.hello.Drain)
	p.mu.Unlock()
	go p.follow()
}

// AwaitNamed waits until the predecessor has named this process to the supervisor as the main one, which
// it does before its first message behind Serving. If that is late, or the predecessor has ended,
// AwaitNamed returns all the same.
func (p *Predecessor) AwaitNamed(ctx context.Context) {
	if p == nil || p.IsLost() {
		return
	}
	select {
	case <-p.named:
	case <-ctx.Done():
	case <-time.After(namedWait):
	}
}

// follow reads until the predecessor has ended, or this process does.
func (p *Predecessor) follow() {
	name := sync.OnceFunc(func() { close(p.named) })
	defer func() {
		name()
		_ = p.link.conn.Close()
		p.mu.Lock()
		p.now.Ended, p.now.Sessions = time.Now(), 0
		p.mu.Unlock()
	}()
	for {
		m, err := p.expect(kindSessions)
		if err != nil {
			return
		}
		var body sessionsBody
		if err := m.decode(&body); err != nil {
			return
		}
		p.mu.Lock()
		p.now.Sessions = max(body.Sessions, 0)
		p.mu.Unlock()
		name()
	}
}

// Report returns the present state.
func (p *Predecessor) Report() Report {
	if p == nil {
		return Report{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// PID is the predecessor's process id; 0: there is none.
func (p *Predecessor) PID() int {
	if p == nil {
		return 0
	}
	return p.pid
}

// IsLost reports whether the predecessor has ended before it committed.
func (p *Predecessor) IsLost() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// Fail tells the predecessor why this process ends, unless it serves. It closes the connection.
func (p *Predecessor) Fail(err error) {
	if p == nil || !p.Report().Took.IsZero() {
		return
	}
	_ = p.link.conn.SetWriteDeadline(time.Now().Add(tellTimeout))
	_ = p.link.send(kindFailed, failedBody{lines(err.Error())}) // the log has it
	_ = p.link.conn.Close()
}

// expect waits for a message of a kind.
func (p *Predecessor) expect(k kind) (message, error) {
	m, err := p.link.receive()
	if err == nil && m.kind != k {
		closeAll(m.files)
		err = fmt.Errorf("the running kproxy sent a message %v in the place of %v", m.kind, k)
	}
	return m, err
}

// step does f, which exchanges messages, unless the predecessor is lost. If it ends meanwhile, step
// waits until the system has freed its locks.
func (p *Predecessor) step(ctx context.Context, f func() error) error {
	if p == nil || p.IsLost() {
		return nil
	}
	stop := wait.Bound(ctx, p.link.conn)
	err := f()
	if !stop() {
		return context.Cause(ctx)
	}
	if err == nil || !isEnd(err) {
		return err
	}
	for end := time.Now().Add(endWait); !p.ended(); wait.Sleep(ctx, endLook) {
		if time.Now().After(end) || ctx.Err() != nil {
			return errors.New("the running kproxy has ended the hand-over")
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = true
	_ = p.link.conn.Close()
	return nil
}

// isEnd reports whether an error of a connection is the end of the other process.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
