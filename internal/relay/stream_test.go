package relay

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// chunks is a connection that is read in pieces of any size, and keeps the bytes written
// to it.
type chunks struct {
	net.Conn
	random  *rand.Rand
	in      []byte
	written bytes.Buffer
}

func (c *chunks) Read(b []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.in[:min(len(c.in), 1+c.random.IntN(5000))])
	c.in = c.in[n:]
	return n, nil
}

func (c *chunks) Write(b []byte) (int, error) { return c.written.Write(b) }

// For any sequence of calls and any pieces of input, no byte is lost and none overtakes
// another.
func TestPipeAgainstAModel(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 0))
		in := make([]byte, 200_000)
		for i := range in {
			in[i] = byte(random.Uint32())
		}
		src, dst := &chunks{random: random, in: in}, &chunks{}
		p := Stream{src: src, dst: dst}
		rest := in
		var want []byte
		for len(rest) > 0 {
			n := min(random.IntN(1<<random.IntN(16)), len(rest)) // mostly small, up to twice the buffer
			switch random.IntN(4) {
			case 0:
				got, err := p.Peek(n)
				if err != nil || len(got) < n || !bytes.HasPrefix(rest, got) {
					t.Fatalf("seed %d: peek %d: got %d other bytes, %v", seed, n, len(got), err)
				}
			case 1:
				if err := p.Pass(n); err != nil {
					t.Fatal(err)
				}
				want = append(want, rest[:n]...)
				rest = rest[n:]
			case 2:
				if err := p.Drop(n); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			case 3:
				instead := bytes.Repeat([]byte("x"), random.IntN(10))
				if err := p.Write(instead); err != nil {
					t.Fatal(err)
				}
				want = append(want, instead...)
			}
		}
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(dst.written.Bytes(), want) {
			t.Fatalf("seed %d: the other side got other bytes", seed)
		}
		if got := p.Moved(); got != int64(len(want)) {
			t.Errorf("seed %d: moved %d, want %d", seed, got, len(want))
		}
	}
}

// Passed bytes are written before the stream reads, and not earlier.
func TestPipeWritesManyFramesAtOnce(t *testing.T) {
	src, dst := &chunks{random: rand.New(rand.NewPCG(0, 0)), in: make([]byte, 100)}, &chunks{}
	p := Stream{src: src, dst: dst}
	if _, err := p.Peek(100); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := p.Pass(10); err != nil {
			t.Fatal(err)
		}
	}
	if got := dst.written.Len(); got != 0 {
		t.Errorf("%d bytes were written before there was a need to", got)
	}
	var side *SideError
	if _, err := p.Peek(1); !errors.As(err, &side) || !side.Reading || !errors.Is(err, io.EOF) {
		t.Errorf("peek: %v, want the end of the reading side", err)
	}
	if got := dst.written.Len(); got != 100 {
		t.Errorf("%d bytes were written before the pipe read, want 100", got)
	}
}

// A buffer that has grown for one large response is given back, and an idle stream has
// one of the usual size.
func TestPipeGivesMemoryBack(t *testing.T) {
	src, dst := &chunks{random: rand.New(rand.NewPCG(0, 0)), in: make([]byte, 1<<20)}, &chunks{}
	p := Stream{src: src, dst: dst}
	if _, err := p.Peek(1 << 20); err != nil {
		t.Fatal(err)
	}
	if err := p.Pass(1 << 20); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := len(p.buf); got > BufferSize {
		t.Errorf("%d bytes are held, want no more than %d", got, BufferSize)
	}
}

// Memory grows with the bytes that have come, however many a peer claims.
func TestPipeGrowsWithWhatArrives(t *testing.T) {
	p := Stream{src: &chunks{random: rand.New(rand.NewPCG(0, 0)), in: make([]byte, 1000)}, dst: &chunks{}}
	if _, err := p.Peek(1 << 30); !errors.Is(err, io.EOF) {
		t.Fatalf("peek: %v", err)
	}
	if got := len(p.buf); got > BufferSize {
		t.Errorf("%d bytes are held for 1000", got)
	}
}
