//go:build linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Handshakes are TCP connections over IPv4 and the loopback interface, as its packets show them. A
// connection that a client did not get, and about which no client says a word, is here too.
type Handshakes struct {
	Connections   int // SYNs, each sequence number once
	Answered      int // by a SYN and ACK
	Refused       int // by a RST
	Unanswered    int // neither, after unansweredAfter
	Retransmitted int // SYNs that came again: the first was dropped, or its response
	Resets        int // RSTs that a server sends later, where neither side has ended its own before
	Missed        int // packets that the kernel had no room for: with any, the others are too low
}

// String is one line.
func (h Handshakes) String() string {
	return fmt.Sprintf("%d SYNs: %d answered, %d refused by a RST, %d without an answer, %d sent again; %d open ones reset by the server; %d packets missed",
		h.Connections, h.Answered, h.Refused, h.Unanswered, h.Retransmitted, h.Resets, h.Missed)
}

// unansweredAfter is how old a SYN is that has no response. Linux sends it again after a second.
const unansweredAfter = time.Second

// HandshakeWatch counts the handshakes with some servers.
type HandshakeWatch struct {
	socket   int
	isServer func(netip.AddrPort) bool
	ended    chan struct{}

	mu      sync.Mutex // guards the following
	pending map[pairing]attempt
	open    map[pairing]bool // neither side has ended its own
	count   Handshakes
}

// pairing is a client's address and a server's.
type pairing struct{ client, server netip.AddrPort }

// attempt is a SYN without a response.
type attempt struct {
	sequence uint32
	at       time.Time
}

// WatchHandshakes counts until Stop. It needs root.
func WatchHandshakes(place *Namespace, isServer func(netip.AddrPort) bool) (*HandshakeWatch, error) {
	w := &HandshakeWatch{isServer: isServer, ended: make(chan struct{}), pending: map[pairing]attempt{}, open: map[pairing]bool{}}
	if err := place.Inside(func() (err error) {
		w.socket, err = packetSocket()
		return err
	}); err != nil {
		return nil, err
	}
	go w.read()
	return w, nil
}

// snapshot is as much of a packet as is read: the IP header with options, and TCP's without.
const snapshot = 60 + 20

// The fields of an IPv4 header and of the TCP header behind it.
const (
	protocolAt, sourceAt, destinationAt = 9, 12, 16
	sequenceAt, flagsAt                 = 4, 13
	flagFIN, flagSYN, flagRST, flagACK  = 0x01, 0x02, 0x04, 0x10
)

// packetSocket returns a socket that gets each packet with SYN, FIN or RST on loopback.
func packetSocket() (socket int, err error) {
	const ip = unix.ETH_P_IP&0xff<<8 | unix.ETH_P_IP>>8 // in network order
	if socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("a packet socket, which needs root: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(socket)
		}
	}()
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: protocolAt, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_TCP, SkipTrue: 4},
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: flagsAt, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: flagSYN | flagFIN | flagRST, SkipTrue: 1},
		bpf.RetConstant{Val: snapshot},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return -1, err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	if err := unix.SetsockoptSockFprog(socket, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		return -1, os.NewSyscallError("SO_ATTACH_FILTER", err)
	}
	_ = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) // Missed shows one that is too small
	poll := unix.NsecToTimeval(int64(50 * time.Millisecond))                     // how soon Stop is seen
	if err := unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &poll); err != nil {
		return -1, os.NewSyscallError("SO_RCVTIMEO", err)
	}
	loopback, err := net.InterfaceByName("lo")
	if err != nil {
		return -1, err
	}
	return socket, os.NewSyscallError("bind", unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: ip, Ifindex: loopback.Index}))
}

// read counts packets until Stop has shut the count.
func (w *HandshakeWatch) read() {
	defer close(w.ended)
	packet := make([]byte, snapshot)
	for {
		n, from, err := unix.Recvfrom(w.socket, packet, 0)
		w.mu.Lock()
		stopped := w.pending == nil
		w.mu.Unlock()
		switch {
		case stopped:
			return
		case err != nil: // nothing came
			continue
		}
		if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype == unix.PACKET_OUTGOING {
			continue // it comes again, as one that has arrived
		}
		w.take(packet[:n], time.Now())
	}
}

// take counts a packet.
func (w *HandshakeWatch) take(packet []byte, now time.Time) {
	if len(packet) < 20 {
		return
	}
	tcp := int(packet[0]&0xf) * 4
	if len(packet) < tcp+flagsAt+1 {
		return
	}
	port := func(at int) uint16 { return binary.BigEndian.Uint16(packet[at:]) }
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(packet[sourceAt:])), port(tcp))
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(packet[destinationAt:])), port(tcp+2))
	flags, sequence := packet[tcp+flagsAt], binary.BigEndian.Uint32(packet[tcp+sequenceAt:])
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending == nil {
		return
	}
	switch {
	case flags&(flagSYN|flagACK) == flagSYN && w.isServer(to):
		f := pairing{from, to}
		if before, ok := w.pending[f]; ok && before.sequence == sequence {
			w.count.Retransmitted++
			return
		} else if ok {
			w.count.Unanswered++ // the client has given the first one up
		}
		w.count.Connections++
		w.pending[f] = attempt{sequence, now}
	case flags&(flagSYN|flagACK) == flagSYN|flagACK && w.isServer(from):
		f := pairing{to, from}
		if _, ok := w.pending[f]; ok {
			w.count.Answered++
			delete(w.pending, f)
			w.open[f] = true
		}
	case flags&flagRST != 0 && w.isServer(from):
		f := pairing{to, from}
		if _, ok := w.pending[f]; ok {
			w.count.Refused++
			delete(w.pending, f)
		} else if w.open[f] {
			w.count.Resets++
			delete(w.open, f)
		}
	case flags&flagFIN != 0 && w.isServer(from):
		delete(w.open, pairing{to, from}) // the kernel also resets a closed socket that gets data
	case flags&(flagFIN|flagRST) != 0 && w.isServer(to):
		delete(w.open, pairing{from, to})
	}
}

// Count returns the count until now.
func (w *HandshakeWatch) Count() Handshakes {
	w.mu.Lock()
	defer w.mu.Unlock()
	count := w.count
	for _, a := range w.pending {
		if time.Since(a.at) >= unansweredAfter {
			count.Unanswered++
		}
	}
	return count
}

// Stop ends the watch, and returns the count.
func (w *HandshakeWatch) Stop() (Handshakes, error) {
	count := w.Count()
	w.mu.Lock()
	w.pending = nil
	w.mu.Unlock()
	<-w.ended
	stats, err := unix.GetsockoptTpacketStats(w.socket, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err == nil {
		count.Missed = int(stats.Drops)
	}
	return count, errors.Join(os.NewSyscallError("PACKET_STATISTICS", err), unix.Close(w.socket))
}
