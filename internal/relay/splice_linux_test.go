package relay

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kproxy/internal/portlab"
	"kproxy/internal/racelab"
)

// As TestPipeAgainstAModel, between sockets: with peeks, splices and copies in any order,
// no byte is lost and none overtakes another.
func TestSplicingPipeAgainstAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			splicesAsAModel(t, seed)
		})
	}
}

func splicesAsAModel(t *testing.T, seed uint64) {
	t.Helper()
	budget := NewPipePool(1)
	defer budget.Close()
	random := rand.New(rand.NewPCG(seed, 1))
	in := make([]byte, 3<<20)
	for i := range in {
		in[i] = byte(random.Uint32())
	}
	client, src := portlab.TCPPair(t)
	dst, broker := portlab.TCPPair(t)
	if seed%2 == 0 {
		_ = dst.SetWriteBuffer(16 << 10) // chunks find no room
	}
	var got bytes.Buffer
	var running sync.WaitGroup
	pieces := rand.New(rand.NewPCG(seed, 2))
	running.Go(func() {
		for rest := in; len(rest) > 0; {
			n := min(1+pieces.IntN(1<<(6+pieces.IntN(13))), len(rest))
			_, _ = client.Write(rest[:n])
			rest = rest[n:]
		}
	})
	running.Go(func() { _, _ = io.Copy(&got, broker) })
	var p Stream
	p.Connect(src, dst, budget)
	var want []byte
	for rest := in; len(rest) > 0; {
		n := min(random.IntN(1<<(4+random.IntN(16))), len(rest))
		look := min(random.IntN(1<<random.IntN(12)), n)
		p.Boundary()
		p.Exact = random.IntN(8) == 0
		if b, err := p.Peek(look); err != nil || !bytes.HasPrefix(rest, b) {
			t.Fatalf("peek %d: got %d other bytes, %v", look, len(b), err)
		}
		what, first := random.IntN(8), random.IntN(look+1)
		switch what {
		case 0:
			if err := p.Drop(n); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			continue
		case 1:
			if err := p.Write([]byte("instead")); err != nil {
				t.Fatal(err)
			}
			want = append(want, "instead"...)
		case 2:
			if err := p.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		// As a response that is walked: its head, its records, and its tail.
		records := random.IntN(n - first + 1)
		tail := n - first - records
		if err := errors.Join(p.PassPart(first), p.PassPart(records)); err != nil {
			t.Fatal(err)
		}
		want = append(want, rest[:first+records]...)
		rest = rest[first+records:]
		if b, err := p.Peek(min(tail, 10_000)); err != nil || !bytes.HasPrefix(rest, b) {
			t.Fatalf("peek behind %d records: got %d other bytes, %v", records, len(b), err)
		}
		if what == 3 {
			if err := errors.Join(p.Write([]byte("another tail")), p.Drop(tail)); err != nil {
				t.Fatal(err)
			}
			want = append(want, "another tail"...)
		} else {
			if err := p.Pass(tail); err != nil {
				t.Fatal(err)
			}
			want = append(want, rest[:tail]...)
		}
		rest = rest[tail:]
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	_ = dst.CloseWrite()
	running.Wait()
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatalf("the other side got %d other bytes, want %d", got.Len(), len(want))
	}
	if p.Moved() != int64(len(want)) || p.Spliced.Load() == 0 {
		t.Errorf("%d bytes moved of %d, %d of them spliced", p.Moved(), len(want), p.Spliced.Load())
	}
	if budget.made.Load() != 1 || budget.free[0].Load() == nil {
		t.Fatalf("%d kernel pipes were made, and the first one is not back", budget.made.Load())
	}
}

// splicing is a pipe between sockets.
type splicing struct {
	Stream
	client, broker *net.TCPConn // the other ends of its connections
	near           *net.TCPConn // its source
}

func newSplicing(t *testing.T, budget *PipePool) *splicing {
	t.Helper()
	s := &splicing{}
	var dst *net.TCPConn
	s.client, s.near = portlab.TCPPair(t)
	dst, s.broker = portlab.TCPPair(t)
	s.Connect(s.near, dst, budget)
	return s
}

// send has the client send b, which the sockets must have room for.
func (s *splicing) send(t *testing.T, b []byte) {
	t.Helper()
	if _, err := s.client.Write(b); err != nil {
		t.Fatal(err)
	}
}

// wants fails the test unless the next bytes are want.
func (s *splicing) wants(t *testing.T, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	_ = s.broker.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := io.ReadFull(s.broker, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d of %d bytes came, or others; %v", n, len(want), err)
	}
}

// pattern is n bytes whose values show their offsets.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// A deadline set for another reason loses no peeked bytes, whatever the stream does with
// them.
func TestWhatWasLookedAtOutlastsADeadline(t *testing.T) {
	budget := NewPipePool(1)
	defer budget.Close()
	const large, small = 40_000, 100
	in := pattern(large + small)
	for name, move := range map[string]func(s *splicing) error{
		"passed":  func(s *splicing) error { return errors.Join(s.Pass(small), s.Flush()) },
		"dropped": func(s *splicing) error { return s.Drop(small) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSplicing(t, budget)
			s.send(t, in[:large])
			if err := s.Pass(large); err != nil {
				t.Fatal(err)
			}
			s.wants(t, in[:large])
			s.send(t, in[large:])
			s.Boundary()
			if _, err := s.Peek(1); err != nil || s.peeked == 0 {
				t.Fatalf("%d bytes were looked at, %v", s.peeked, err)
			}
			_ = s.near.SetReadDeadline(time.Unix(1, 0))
			if err := move(s); err != nil {
				t.Fatal(err)
			}
			if name == "passed" {
				s.wants(t, in[large:])
			}
			_ = s.near.SetReadDeadline(time.Time{})
			s.send(t, []byte("next"))
			if b, err := s.Peek(4); err != nil || string(b) != "next" {
				t.Errorf("%q follows, %v", b, err)
			}
		})
	}
}

// Where a socket cannot be spliced, everything is copied, and no byte under way is lost.
func TestSocketsThatCannotBeSpliced(t *testing.T) {
	in := pattern(60_000)
	for name, refuse := range map[string]func(t *testing.T, s *splicing){
		"from": func(t *testing.T, s *splicing) { // both ends of the splice are sockets
			t.Helper()
			d := s.pool.get()
			raw, err := s.broker.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			_ = raw.Control(func(fd uintptr) { err = unix.Dup3(int(fd), d.in, unix.O_CLOEXEC) })
			if err != nil {
				t.Fatal(err)
			}
			s.pool.put(d)
		},
		"to": func(t *testing.T, s *splicing) {
			t.Helper()
			_ = s.out.raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETFL, unix.O_APPEND|unix.O_NONBLOCK) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			budget := NewPipePool(1)
			defer budget.Close()
			s := newSplicing(t, budget)
			refuse(t, s)
			s.send(t, in)
			if _, err := s.Peek(100); err != nil { // goes ahead of the spliced bytes
				t.Fatal(err)
			}
			if err := errors.Join(s.Pass(len(in)), s.Flush()); err != nil {
				t.Fatal(err)
			}
			s.wants(t, in)
			if s.Spliced.Load() != 0 || s.canSplice() || !s.Copies() || s.Misses.Load() != 1 {
				t.Errorf("%d bytes were spliced, %d misses, and more may be: %t", s.Spliced.Load(), s.Misses.Load(), s.canSplice())
			}
			if n, err := budget.Refused(); n != 1 || !errors.Is(err, unix.EINVAL) {
				t.Errorf("%d streams were refused, %v", n, err)
			}
		})
	}
}

// Where the system refuses every kernel pipe, a stream copies, and its pool has the reason.
func TestPipesThatAreRefused(t *testing.T) {
	budget := NewPipePool(1)
	refusal := os.NewSyscallError("pipe2", unix.EPERM)
	budget.noPipes.Store(&refusal)
	budget.made.Store(1) // get returns none
	s := newSplicing(t, budget)
	in := pattern(256 << 10)
	go func() { _, _ = s.client.Write(in) }() // the test reads it all
	if err := errors.Join(s.Pass(len(in)), s.Flush()); err != nil {
		t.Fatal(err)
	}
	s.wants(t, in)
	if n, err := budget.Refused(); n != 1 || !errors.Is(err, unix.EPERM) || !s.Copies() || s.Misses.Load() != 1 {
		t.Errorf("%d streams were refused, %v, with %d misses", n, err, s.Misses.Load())
	}
	if s.Connect(s.src, s.dst, budget); s.Copies() {
		t.Error("a stream that is connected again does not try again")
	}
}

// Ordinary loopback connections are spliced.
func TestProbe(t *testing.T) {
	if err := Probe(t.Context()); err != nil {
		t.Errorf("got %v", err)
	}
}

// The part of a chunk that a peer does not take waits in a buffer, and not in the kernel
// pipe.
func TestUntakenBytesLeaveTheKernelPipe(t *testing.T) {
	budget := NewPipePool(1)
	defer budget.Close()
	in := pattern(4 << 20)
	s := newSplicing(t, budget)
	_ = s.dst.(*net.TCPConn).SetWriteBuffer(16 << 10)
	go func() { _, _ = s.client.Write(in) }()
	passed := make(chan error, 1)
	go func() { passed <- errors.Join(s.Pass(len(in)), s.Flush()) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for last := int64(-1); last <= 0 || last != s.Moved(); <-tick.C {
		last = s.Moved()
	}
	if s.Moved() == int64(len(in)) {
		t.Fatal("the sockets have room for everything, which proves nothing")
	}
	if budget.made.Load() != 1 || budget.free[0].Load() == nil {
		t.Error("a pipe that waits holds the kernel pipe")
	}
	s.wants(t, in)
	if err := <-passed; err != nil {
		t.Fatal(err)
	}
	if s.Moved() != int64(len(in)) || s.Copied.Load() == 0 {
		t.Errorf("of %d bytes %d were spliced and %d copied", len(in), s.Spliced.Load(), s.Copied.Load())
	}
}

// Connections other than plain TCP are copied: TLS, and any other wrapper.
func TestOnlyPlainTCPIsSpliced(t *testing.T) {
	budget := NewPipePool(1)
	defer budget.Close()
	near, far := portlab.TCPPair(t)
	wrapped := struct{ net.Conn }{near}
	memory, _ := net.Pipe()
	for _, pair := range [][2]net.Conn{{wrapped, far}, {far, wrapped}, {memory, far}, {far, memory}} {
		var p Stream
		if p.Connect(pair[0], pair[1], budget); p.canSplice() {
			t.Errorf("%T to %T is spliced", pair[0], pair[1])
		}
	}
}

// Writing bytes ahead of a chunk, and taking bytes back from one, allocates nothing.
func TestSplicingAllocatesNothing(t *testing.T) {
	if racelab.Enabled {
		t.Skip("sync.Pool forgets at random")
	}
	budget := NewPipePool(1)
	defer budget.Close()
	in := pattern(40_000)
	out := make([]byte, len(in))
	s := newSplicing(t, budget)
	ahead := func() {
		_, err := s.client.Write(in)
		if err == nil {
			_, err = s.Peek(100)
		}
		if err = errors.Join(err, s.Pass(len(in)), s.Flush()); err == nil {
			_, err = io.ReadFull(s.broker, out)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ahead()
	if got := testing.AllocsPerRun(100, ahead); got != 0 {
		t.Errorf("%v allocations where the head goes ahead of the rest", got)
	}
	if s.Spliced.Load() == 0 {
		t.Error("nothing was spliced")
	}
	back := func() {
		d := budget.get()
		_, err := unix.Write(d.in, in)
		if err == nil {
			err = s.spill(d, len(in), 0)
		}
		if err == nil {
			err = s.Flush()
		}
		budget.put(d)
		if err == nil {
			_, err = io.ReadFull(s.broker, out)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	back()
	if got := testing.AllocsPerRun(100, back); got != 0 {
		t.Errorf("%v allocations where a chunk is taken back", got)
	}
	if !bytes.Equal(out, in) {
		t.Error("the bytes taken back differ from those spliced")
	}
}

// The tail of a response leaves in one packet with the records that were spliced, if it
// has come: the reader is not woken for three bytes.
func TestTailLeavesWithTheRecords(t *testing.T) {
	budget := NewPipePool(1)
	defer budget.Close()
	in := pattern(20_000) // half a window at most, or it takes two packets alone
	s := newSplicing(t, budget)
	s.send(t, in)
	awaitReadable(t, s.near, len(in))
	const tail = 3
	before := segments(t, s.dst)
	_, err := s.Peek(0)
	err = errors.Join(err, s.PassPart(len(in)-tail))
	if b, peekErr := s.Peek(tail); peekErr != nil || !bytes.Equal(b, in[len(in)-tail:]) {
		t.Fatalf("the tail: got %d bytes, %v", len(b), peekErr)
	}
	if err = errors.Join(err, s.Pass(tail), s.Flush()); err != nil {
		t.Fatal(err)
	}
	s.wants(t, in)
	if got := segments(t, s.dst) - before; got != 1 {
		t.Errorf("%d packets, want 1", got)
	}
	if s.Spliced.Load() != int64(len(in)-tail) || s.Copied.Load() != tail {
		t.Errorf("%d bytes were spliced and %d copied, want %d and %d", s.Spliced.Load(), s.Copied.Load(), len(in)-tail, tail)
	}
}

// A reset found while a tail is read behind the bytes in the kernel pipe is reported. The kernel
// reports it once, and an orderly end from then on.
func TestResetInFrontOfTheTail(t *testing.T) {
	budget := NewPipePool(1)
	defer budget.Close()
	in := pattern(20_000)
	s := newSplicing(t, budget)
	s.send(t, in)
	awaitReadable(t, s.near, len(in))
	_ = s.client.SetLinger(0)
	_ = s.client.Close()
	if err := s.PassPart(len(in)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Peek(3); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	s.wants(t, in)
}

// Bytes that stay in the kernel pipe are not counted, and no count decreases. Behind a
// reader that takes nothing, the tail and everything before it are still to be written.
func TestNothingIsCountedThatWasNotTaken(t *testing.T) {
	budget := NewPipePool(1)
	defer budget.Close()
	const records, tail = 20_000, 3
	in := pattern(records + tail)
	s := newSplicing(t, budget)
	_ = s.dst.(*net.TCPConn).SetWriteBuffer(16 << 10)
	_ = s.broker.SetReadBuffer(16 << 10)
	fill(t, s.dst)
	s.send(t, in)
	awaitReadable(t, s.near, len(in))
	if err := s.PassPart(records); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Peek(tail); err != nil {
		t.Fatal(err)
	}
	_ = s.dst.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if err := errors.Join(s.Pass(tail), s.Flush()); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v, want a reader that takes nothing", err)
	}
	if copied, spliced := s.Copied.Load(), s.Spliced.Load(); copied != 0 || spliced != 0 {
		t.Errorf("%d bytes count as copied and %d as spliced, and none was taken", copied, spliced)
	}
}

// fill writes until the other side takes no more.
func fill(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	for err := error(nil); err == nil; {
		_, err = c.Write(make([]byte, 64<<10))
	}
	_ = c.SetWriteDeadline(time.Time{})
}

// segments is how many packets with data a connection has sent.
func segments(t *testing.T, c net.Conn) uint32 {
	t.Helper()
	var info *unix.TCPInfo
	var err error
	if controlErr := RawConnOf(c).Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); controlErr != nil || err != nil {
		t.Fatal(controlErr, err)
	}
	return info.Data_segs_out
}

// awaitReadable waits until n bytes wait in a connection.
func awaitReadable(t *testing.T, c net.Conn, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for waiting, end := 0, time.Now().Add(10*time.Second); waiting < n; <-tick.C {
		if err := RawConnOf(c).Control(func(fd uintptr) { waiting, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes wait, want %d", waiting, n)
		}
	}
}

// A client that has stopped reading leaves few bytes in a kernel pipe, however large
// chunks have become: they have to be held.
func TestAStalledClientLeavesLittle(t *testing.T) {
	budget := NewPipePool(1)
	defer budget.Close()
	broker, source := portlab.TCPPair(t)
	client, sink := portlab.TCPPair(t)
	if err := sink.SetWriteBuffer(128 << 10); err != nil { // as that of one that has not been fast for long
		t.Fatal(err)
	}
	const size = 96 << 20                                   // more than the sockets' buffers can hold
	go func() { _, _ = broker.Write(make([]byte, size)) }() // ends with the connection
	p := &Stream{chunk: budget.size}
	p.Connect(source, sink, budget)
	passed := make(chan error, 1)
	go func() { passed <- p.Pass(size) }()
	for before := int64(-1); p.Moved() == 0 || p.Moved() != before; { // until nothing moves
		before = p.Moved()
		<-time.After(100 * time.Millisecond)
	}
	if err := client.Close(); err != nil { // with bytes unread: it is reset
		t.Fatal(err)
	}
	if err := <-passed; err == nil {
		t.Fatal("all was passed to a client that read nothing")
	}
	if left := p.next - p.sent; left > 128<<10 {
		t.Errorf("%d KiB were left in the kernel pipe, want less than a chunk", left>>10)
	}
}

// A callback of the source's poller does not wait for the destination, whose write lock the other pump holds until
// the peer reads: the close of the source would wait, too.
func TestReadingDoesNotWaitForTheDestination(t *testing.T) {
	client, src := portlab.TCPPair(t)
	dst, reader := portlab.TCPPair(t)
	var p Stream
	p.Connect(src, dst, NewPipePool(1))
	p.readFilled = true // so that a large buffer is tried

	var writing sync.WaitGroup
	defer writing.Wait()
	locked := make(chan struct{})
	writing.Go(func() {
		if _, err := dst.Write(make([]byte, 64<<20)); err == nil {
			t.Error("the peer has read")
		}
	})
	writing.Go(func() {
		for p.roomy() {
			<-time.After(time.Millisecond)
		}
		close(locked)
	})
	select {
	case <-locked: // the peer's buffers are full, so Write waits
	case <-time.After(10 * time.Second):
		t.Error("a look at the destination waits for a write")
	}
	if _, err := client.Write([]byte("12345678")); err != nil {
		t.Fatal(err)
	}
	peeked := make(chan error, 1)
	go func() { _, err := p.Peek(8); peeked <- err }()
	select {
	case err := <-peeked:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a read waits for a write of the other pump")
	}
	_, _ = reader.Close(), dst.Close()
}
