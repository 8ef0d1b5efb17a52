//go:build linux

package lab

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

func testTun() (t *Tun, near, far netip.AddrPort) {
	return &Tun{flows: map[flow]fate{}}, netip.MustParseAddrPort("10.213.20.129:40000"), netip.MustParseAddrPort("10.213.20.11:9092")
}

// data is a packet with n bytes of payload. It is made of a reset, which makes no
// difference: the flag is not read.
func data(from, to netip.AddrPort, seq uint32, n int) []byte {
	b := segment{}.reset(from, to, seq)
	b[ipv4Header+13] = flagAck
	b[ipv4Header+8+3] = 77 // the number that from expects next
	return append(b, make([]byte, n)...)
}

func TestTunReset(t *testing.T) {
	tun, near, far := testTun()
	if onward, back, _ := tun.judge(0, data(near, far, 1, 10)); onward == nil || back != nil {
		t.Fatal("a packet of a good link did not pass alone")
	}
	tun.Reset(1000)
	if onward, back, _ := tun.judge(1, data(far, near, 5, 999)); onward == nil || back != nil {
		t.Error("a packet that is too small was taken for the middle of a frame")
	}
	onward, back, _ := tun.judge(0, data(near, far, 11, 1000))
	for _, c := range []struct {
		name     string
		b        []byte
		from, to netip.AddrPort
		seq      uint32
	}{{"onward", onward, near, far, 11}, {"back", back, far, near, 77}} {
		s, ok := parseSegment(c.b)
		if !ok || s.from != c.from || s.to != c.to || s.seq != c.seq || c.b[ipv4Header+13]&flagReset == 0 {
			t.Errorf("%s: got %+v, %v; want a reset from %v to %v at %d", c.name, s, ok, c.from, c.to, c.seq)
		}
		// A checksum over a packet with its own checksum is 0.
		if got := checksum(0, c.b[:ipv4Header]); got != 0 {
			t.Errorf("%s: IP checksum is off by %#x", c.name, got)
		}
		if got := checksum(tcpProto+tcpHeader, c.b[12:20], c.b[ipv4Header:]); got != 0 {
			t.Errorf("%s: TCP checksum is off by %#x", c.name, got)
		}
	}
	again := data(near, far, 11, 1000)
	if onward, _, _ := tun.judge(0, again); !bytes.Equal(onward, again) {
		t.Error("a connection was reset twice")
	}
}

func TestTunSilence(t *testing.T) {
	tun, near, far := testTun()
	tun.judge(0, data(near, far, 1, 10))
	tun.Silence()
	newcomer := netip.AddrPortFrom(near.Addr(), near.Port()+1)
	for _, c := range []struct {
		name     string
		end      int
		from, to netip.AddrPort
		passes   bool
	}{
		{"there", 0, near, far, false},
		{"there, back", 1, far, near, false},
		{"new", 0, newcomer, far, true},
	} {
		if onward, back, _ := tun.judge(c.end, data(c.from, c.to, 1, 10)); (onward != nil) != c.passes || back != nil {
			t.Errorf("%s: passes: got %v, want %v", c.name, onward != nil, c.passes)
		}
	}
	tun.Heal()
	tun.Delay(time.Second)
	if onward, _, delay := tun.judge(0, data(near, far, 1, 10)); onward == nil || delay != time.Second {
		t.Errorf("healed: passes %v after %v, want after 1s", onward != nil, delay)
	}
}

func TestParseSegmentTrustsNoLength(t *testing.T) {
	whole := data(netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:2"), 1, 0)
	for n := range whole {
		if _, ok := parseSegment(whole[:n]); ok {
			t.Errorf("%d bytes are not a TCP packet", n)
		}
	}
	whole[0] = 4<<4 | 0xf // a header longer than the packet
	if _, ok := parseSegment(whole); ok {
		t.Error("a header that ends behind the packet was believed")
	}
}
