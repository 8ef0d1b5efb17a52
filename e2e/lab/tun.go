//go:build linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tunMTU is that of most networks: a record of 100 KB is some 70 packets.
	tunMTU = 1500
	// tunQueue is how many packets are on their way in one direction at most; further
	// ones are lost, as in any router.
	tunQueue = 8192
)

// Tun is a link between two networks that this process carries, packet by packet, and so
// can delay, lose, cut and forge: both ends meet the same fault, a client as much as a
// proxy. A kernel with netem could do some of it; this one needs nothing but
// /dev/net/tun.
//
//	near ── to-FAR ──▶ read ─ fate ─ queue ─▶ write ── to-NEAR ── far
//	                 ◀──────────── and back ────────────
type Tun struct {
	ends [2]*os.File
	wg   sync.WaitGroup

	mu     sync.Mutex // guards the following
	delay  time.Duration
	loss   float64
	chance *rand.Rand
	down   bool
	flows  map[flow]fate // the connections that were seen
	done   TunCounts
}

// TunCounts count a link's actions on packets.
type TunCounts struct {
	Dropped int // packets: lost, silenced or cut
	Reset   int // connections
}

// flow is a TCP connection, whichever way a packet of it goes.
type flow struct{ near, far netip.AddrPort }

// fate is the treatment of a connection's packets.
type fate struct {
	silent bool // packets are dropped, and no error is sent
	// reset: the next packet with so much payload is replaced by resets.
	reset   bool
	payload int
}

// NewTun joins two networks. Each end has an address with its prefix; all of that
// prefix that is not local is at the other end. The owner must Close it.
func NewTun(near *Namespace, nearAddress string, far *Namespace, farAddress string) (*Tun, error) {
	t := &Tun{flows: map[flow]fate{}, chance: rand.New(rand.NewPCG(1, 2))}
	for i, end := range []struct {
		at, other *Namespace
		address   string
	}{{near, far, nearAddress}, {far, near, farAddress}} {
		device := "to-" + end.other.Name
		file, err := openTun(end.at, device)
		if err != nil {
			return t, errors.Join(err, t.Close())
		}
		t.ends[i] = file
		if err := errors.Join(
			end.at.Run("ip", "addr", "add", end.address, "dev", device),
			end.at.Run("ip", "link", "set", device, "mtu", fmt.Sprint(tunMTU), "txqueuelen", "2000", "up"),
		); err != nil {
			return t, errors.Join(err, t.Close())
		}
	}
	for i := range t.ends {
		queue := make(chan packet, tunQueue)
		t.wg.Go(func() { t.read(i, queue) })
		t.wg.Go(func() { t.write(1-i, queue) })
	}
	return t, nil
}

// openTun makes a TUN interface in a network. It goes with the file.
func openTun(n *Namespace, device string) (file *os.File, err error) {
	err = n.Inside(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("/dev/net/tun: %w", err)
		}
		request, err := unix.NewIfreq(device)
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("interface %s: %w", device, err)
		}
		file = os.NewFile(uintptr(fd), device)
		return nil
	})
	return file, err
}

// Close ends the link.
func (t *Tun) Close() error {
	var errs []error
	for _, end := range t.ends {
		if end != nil {
			errs = append(errs, end.Close())
		}
	}
	t.wg.Wait()
	return errors.Join(errs...)
}

// Delay makes each packet take so much longer, each way.
func (t *Tun) Delay(d time.Duration) { t.change(func() { t.delay = d }) }

// Lose drops that share of the packets, each way; which ones, a seed decides.
func (t *Tun) Lose(share float64) { t.change(func() { t.loss = share }) }

// Cut drops every packet until Heal.
func (t *Tun) Cut() { t.change(func() { t.down = true }) }

// Silence drops, from now until Heal, every packet of the present connections, without a
// reset: both ends are half-open. New connections work.
func (t *Tun) Silence() { t.doom(fate{silent: true}) }

// Reset resets each connection that is there, to both ends, at its next packet
// with at least so much payload. A full packet without the push flag is the
// middle of a frame that is larger than a packet; 0 takes any packet.
func (t *Tun) Reset(payload int) { t.doom(fate{reset: true, payload: payload}) }

// Heal makes it a good link again.
func (t *Tun) Heal() {
	t.change(func() {
		t.delay, t.loss, t.down = 0, 0, false
		clear(t.flows)
	})
}

// Counts returns the link's counts since the last call.
func (t *Tun) Counts() (done TunCounts) {
	t.change(func() { done, t.done = t.done, TunCounts{} })
	return done
}

func (t *Tun) doom(f fate) {
	t.change(func() {
		for flow := range t.flows {
			t.flows[flow] = f
		}
	})
}

func (t *Tun) change(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

// packet is one on its way.
type packet struct {
	due   time.Time
	bytes []byte
}

// read ends with the link.
func (t *Tun) read(end int, queue chan<- packet) {
	defer close(queue)
	buf := make([]byte, tunMTU+100)
	for {
		n, err := t.ends[end].Read(buf)
		if err != nil {
			return
		}
		onward, back, delay := t.judge(end, buf[:n])
		if back != nil {
			_, _ = t.ends[end].Write(back)
		}
		if onward == nil {
			continue
		}
		select {
		case queue <- packet{time.Now().Add(delay), append([]byte(nil), onward...)}:
		default: // full
		}
	}
}

// write ends with read. A packet never overtakes another.
func (t *Tun) write(end int, queue <-chan packet) {
	for p := range queue {
		if wait := time.Until(p.due); wait > 0 {
			<-time.After(wait)
		}
		_, _ = t.ends[end].Write(p.bytes) // a removed interface loses it
	}
}

// judge decides about a packet: it returns the packet to forward, if any, and the packet
// to send back, if any.
func (t *Tun) judge(end int, b []byte) (onward, back []byte, delay time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer func() {
		if onward == nil {
			t.done.Dropped++
		}
	}()
	if t.down || t.loss > 0 && t.chance.Float64() < t.loss {
		return nil, nil, 0
	}
	s, ok := parseSegment(b)
	if !ok {
		return b, nil, t.delay
	}
	id := flow{s.from, s.to}
	if end == 1 {
		id = flow{s.to, s.from}
	}
	f := t.flows[id]
	switch {
	case f.silent:
		return nil, nil, 0
	case f.reset && s.payload >= f.payload && (f.payload == 0 || !s.push):
		delete(t.flows, id)
		t.done.Reset++
		return s.reset(s.from, s.to, s.seq), s.reset(s.to, s.from, s.ack), t.delay
	}
	t.flows[id] = f
	return b, nil, t.delay
}

// segment has the fields of a TCP packet that a reset needs.
type segment struct {
	from, to netip.AddrPort
	seq, ack uint32
	payload  int
	push     bool
}

const (
	ipv4Header = 20
	tcpHeader  = 20
	tcpProto   = 6

	flagReset = 0x04
	flagPush  = 0x08
	flagAck   = 0x10
)

// parseSegment reads a TCP packet in IPv4; false: it is something else.
func parseSegment(b []byte) (segment, bool) {
	if len(b) < ipv4Header || b[0]>>4 != 4 || b[9] != tcpProto {
		return segment{}, false
	}
	header := int(b[0]&0xf) * 4
	if header < ipv4Header || len(b) < header+tcpHeader {
		return segment{}, false
	}
	tcp := b[header:]
	address := func(b []byte, port []byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), binary.BigEndian.Uint16(port))
	}
	return segment{
		from:    address(b[12:16], tcp[0:]),
		to:      address(b[16:20], tcp[2:]),
		seq:     binary.BigEndian.Uint32(tcp[4:]),
		ack:     binary.BigEndian.Uint32(tcp[8:]),
		payload: len(tcp) - int(tcp[12]>>4)*4,
		push:    tcp[13]&flagPush != 0,
	}, true
}

// reset is a reset from one end to the other. seq must be the number that the receiver
// expects next: Linux challenges any other (RFC 5961).
func (segment) reset(from, to netip.AddrPort, seq uint32) []byte {
	b := make([]byte, ipv4Header+tcpHeader)
	b[0], b[8], b[9] = 4<<4|ipv4Header/4, 64, tcpProto
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], from.Addr().AsSlice())
	copy(b[16:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[10:], checksum(0, b[:ipv4Header]))

	tcp := b[ipv4Header:]
	binary.BigEndian.PutUint16(tcp[0:], from.Port())
	binary.BigEndian.PutUint16(tcp[2:], to.Port())
	binary.BigEndian.PutUint32(tcp[4:], seq)
	tcp[12], tcp[13] = tcpHeader/4<<4, flagReset|flagAck
	// The pseudo header: both addresses, the protocol, the length.
	binary.BigEndian.PutUint16(tcp[16:], checksum(tcpProto+tcpHeader, b[12:20], tcp))
	return b
}

// checksum is the Internet's (RFC 1071), of parts of even length.
func checksum(sum uint32, parts ...[]byte) uint16 {
	for _, part := range parts {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
