package sockhash

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Verdict is the treatment of bytes by the programs of a sockhash.
type Verdict int

// The verdicts.
const (
	Passes    Verdict = iota // the stream verdict passes received bytes on
	Redirects                // sent bytes go into the queue of the peer's socket, past TCP
)

// Hash is a sockhash, as agents attach it to the sockets of a node.
type Hash struct {
	sockets *ebpf.Map
	close   []func()
}

// connection is the key of a socket. The other end has the same with local and remote exchanged,
// if it is in the same network namespace.
type connection struct {
	Network               uint64 // the cookie of the network namespace
	LocalIP, RemoteIP     [4]byte
	LocalPort, RemotePort uint32
}

// The layout of a key on a program's stack.
const (
	keySize      = 24
	keyNetwork   = -keySize
	keyLocalIP   = keyNetwork + 8
	keyRemoteIP  = keyNetwork + 12
	keyLocalPort = keyNetwork + 16
	keyRemote    = keyNetwork + 20
)

// New makes a sockhash without sockets. The caller must Close it.
func New(v Verdict) (_ *Hash, err error) {
	h := &Hash{}
	defer func() {
		if err != nil {
			h.Close()
			err = fmt.Errorf("bpf is refused here: %w", err)
		}
	}()
	h.sockets, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.SockHash, KeySize: keySize, ValueSize: 4, MaxEntries: 1 << 16})
	if err != nil {
		return nil, err
	}
	h.close = append(h.close, func() { _ = h.sockets.Close() })
	spec, at := passing, ebpf.AttachSkSKBStreamVerdict
	if v == Redirects {
		spec, at = redirecting(h.sockets), ebpf.AttachSkMsgVerdict
	}
	program, err := h.load(spec)
	if err != nil {
		return nil, err
	}
	if err := link.RawAttachProgram(link.RawAttachProgramOptions{Target: h.sockets.FD(), Program: program, Attach: at}); err != nil {
		return nil, err
	}
	h.close = append(h.close, func() {
		_ = link.RawDetachProgram(link.RawDetachProgramOptions{Target: h.sockets.FD(), Program: program, Attach: at})
	})
	return h, nil
}

func (h *Hash) load(spec *ebpf.ProgramSpec) (*ebpf.Program, error) {
	program, err := ebpf.NewProgram(spec)
	if err == nil {
		h.close = append(h.close, func() { _ = program.Close() })
	}
	return program, err
}

// Close removes the hash. Sockets in it are ordinary ones again.
func (h *Hash) Close() {
	for i := range h.close {
		h.close[len(h.close)-1-i]()
	}
	h.close = nil
}

var passing = &ebpf.ProgramSpec{
	Type: ebpf.SkSKB, AttachType: ebpf.AttachSkSKBStreamVerdict, License: "GPL",
	Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()}, // SK_PASS
}

// fields are the offsets of a connection's addresses in a program's context.
type fields struct{ localIP, remoteIP, localPort, remotePort int16 }

var (
	ofMessage = fields{remoteIP: 20, localIP: 24, remotePort: 60, localPort: 64} // struct sk_msg_md
	ofSocket  = fields{remoteIP: 24, localIP: 28, remotePort: 64, localPort: 68} // struct bpf_sock_ops
)

// peer are the fields of the other end's key.
func (f fields) peer() fields { return fields{f.remoteIP, f.localIP, f.remotePort, f.localPort} }

// key writes the key of the context in R6 onto the stack. remote is the offset of the peer's port,
// which the kernel has in another byte order than the socket's own.
func (f fields) key(remote int16) asm.Instructions {
	key := asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.FnGetNetnsCookie.Call(),
		asm.StoreMem(asm.RFP, keyNetwork, asm.R0, asm.DWord),
	}
	for _, field := range []struct{ from, to int16 }{
		{f.localIP, keyLocalIP}, {f.remoteIP, keyRemoteIP}, {f.localPort, keyLocalPort}, {f.remotePort, keyRemote},
	} {
		key = append(key, asm.LoadMem(asm.R2, asm.R6, field.from, asm.Word))
		if field.from == remote {
			key = append(key, asm.HostTo(asm.BE, asm.R2, asm.Word))
		}
		key = append(key, asm.StoreMem(asm.RFP, field.to, asm.R2, asm.Word))
	}
	return key
}

// atKey calls a function with the context, a map and the key on the stack.
func atKey(m *ebpf.Map, flags int32, call asm.BuiltinFunc) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMapPtr(asm.R2, m.FD()),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, keyNetwork),
		asm.Mov.Imm(asm.R4, flags),
		call.Call(),
	}
}

// returning ends a program with 1. For a message this is SK_PASS, redirected or not.
var returning = asm.Instructions{asm.Mov.Imm(asm.R0, 1).WithSymbol("end"), asm.Return()}

// redirecting leads each message to the other end's socket. If the map does not have it, the
// message passes.
func redirecting(sockets *ebpf.Map) *ebpf.ProgramSpec {
	const ingress = 1 // BPF_F_INGRESS
	body := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	body = append(body, ofMessage.peer().key(ofMessage.remotePort)...)
	body = append(body, atKey(sockets, ingress, asm.FnMsgRedirectHash)...)
	return &ebpf.ProgramSpec{
		Type: ebpf.SkMsg, AttachType: ebpf.AttachSkMsgVerdict, License: "GPL", Instructions: append(body, returning...),
	}
}

// AddAll puts every TCP connection of this process over IPv4 into the hash, and returns how many
// it has added. Those that are there already stay.
func (h *Hash) AddAll() (added int, err error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		key, ok := connectionOf(fd)
		if !ok {
			continue
		}
		if err := h.sockets.Update(key, uint32(fd), ebpf.UpdateAny); err == nil { // else it is there, or closed by now
			added++
		}
	}
	return added, nil
}

func connectionOf(fd int) (connection, bool) {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return connection{}, false
	}
	remote, err := unix.Getpeername(fd)
	if err != nil {
		return connection{}, false
	}
	network, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return connection{}, false
	}
	l, ok := local.(*unix.SockaddrInet4)
	r, ok2 := remote.(*unix.SockaddrInet4)
	if !ok || !ok2 {
		return connection{}, false
	}
	return connection{network, l.Addr, r.Addr, uint32(l.Port), uint32(r.Port)}, true
}

// Counts are the sockets of a cgroup since Follow.
type Counts struct{ Added, Refused uint64 }

// Follower puts the sockets of a cgroup into a hash.
type Follower struct{ counts *ebpf.Map }

// Follow has the kernel put every TCP socket of the processes of a cgroup (version 2), and of those
// below it, into the hash as soon as it is connected or accepted, until the hash is closed.
func (h *Hash) Follow(cgroup string) (*Follower, error) {
	counts, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 2})
	if err != nil {
		return nil, err
	}
	h.close = append(h.close, func() { _ = counts.Close() })
	program, err := h.load(adding(h.sockets, counts))
	if err != nil {
		return nil, err
	}
	attached, err := link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: ebpf.AttachCGroupSockOps, Program: program})
	if err != nil {
		return nil, err
	}
	h.close = append(h.close, func() { _ = attached.Close() })
	return &Follower{counts}, nil
}

// Counts returns how many sockets came into the hash, and how many the kernel has refused.
func (f *Follower) Counts() (c Counts, err error) {
	return c, errors.Join(f.counts.Lookup(uint32(0), &c.Added), f.counts.Lookup(uint32(1), &c.Refused))
}

// adding adds a socket when its connection is there, and counts it.
func adding(sockets, counts *ebpf.Map) *ebpf.ProgramSpec {
	const (
		connected, accepted = 4, 5 // BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB
		index               = keyNetwork - 4
	)
	body := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, 0, asm.Word), // op
		asm.JLT.Imm(asm.R2, connected, "end"),
		asm.JGT.Imm(asm.R2, accepted, "end"),
	}
	body = append(body, ofSocket.key(ofSocket.remotePort)...)
	body = append(body, atKey(sockets, 0, asm.FnSockHashUpdate)...)
	body = append(body,
		asm.Mov.Imm(asm.R2, 0),
		asm.JEq.Imm(asm.R0, 0, "count"),
		asm.Mov.Imm(asm.R2, 1),
		asm.StoreMem(asm.RFP, index, asm.R2, asm.Word).WithSymbol("count"),
		asm.LoadMapPtr(asm.R1, counts.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, index),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Imm(asm.R1, 1),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
	)
	return &ebpf.ProgramSpec{
		Type: ebpf.SockOps, AttachType: ebpf.AttachCGroupSockOps, License: "GPL", Instructions: append(body, returning...),
	}
}
