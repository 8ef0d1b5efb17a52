//go:build e2e && linux

package sockhash

import (
	"os"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// verdict is the treatment of bytes by the programs of a sockhash.
type verdict int

const (
	passes    verdict = iota // the stream verdict passes received bytes on
	redirects                // sent bytes go into the queue of the peer's socket, past TCP
)

// hash is a sockhash, as agents attach it to the sockets of a node.
type hash struct {
	sockets *ebpf.Map
}

// ports is the key of a socket.
type ports struct{ local, remote uint32 }

func newHash(t *testing.T, v verdict) *hash {
	t.Helper()
	sockets, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.SockHash, KeySize: 8, ValueSize: 4, MaxEntries: 4096})
	if err != nil {
		t.Fatalf("bpf is refused here: %v", err)
	}
	t.Cleanup(func() { _ = sockets.Close() })
	spec, at := passing, ebpf.AttachSkSKBStreamVerdict
	if v == redirects {
		spec, at = redirecting(sockets), ebpf.AttachSkMsgVerdict
	}
	program, err := ebpf.NewProgram(spec)
	if err != nil {
		t.Fatalf("bpf is refused here: %+v", err)
	}
	t.Cleanup(func() { _ = program.Close() })
	if err := link.RawAttachProgram(link.RawAttachProgramOptions{Target: sockets.FD(), Program: program, Attach: at}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = link.RawDetachProgram(link.RawDetachProgramOptions{Target: sockets.FD(), Program: program, Attach: at})
	})
	return &hash{sockets}
}

var passing = &ebpf.ProgramSpec{
	Type: ebpf.SkSKB, AttachType: ebpf.AttachSkSKBStreamVerdict, License: "GPL",
	Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()}, // SK_PASS
}

// redirecting leads each message to the socket whose ports are those of the sender, swapped; if the
// map does not have it, the message passes.
func redirecting(sockets *ebpf.Map) *ebpf.ProgramSpec {
	const remotePort, localPort = 60, 64 // of struct sk_msg_md
	const ingress = 1                    // BPF_F_INGRESS
	return &ebpf.ProgramSpec{
		Type: ebpf.SkMsg, AttachType: ebpf.AttachSkMsgVerdict, License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R6, asm.R1),
			asm.LoadMem(asm.R2, asm.R6, remotePort, asm.Word),
			asm.HostTo(asm.BE, asm.R2, asm.Word),
			asm.LoadMem(asm.R3, asm.R6, localPort, asm.Word),
			asm.StoreMem(asm.RFP, -8, asm.R2, asm.Word),
			asm.StoreMem(asm.RFP, -4, asm.R3, asm.Word),
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.LoadMapPtr(asm.R2, sockets.FD()),
			asm.Mov.Reg(asm.R3, asm.RFP),
			asm.Add.Imm(asm.R3, -8),
			asm.Mov.Imm(asm.R4, ingress),
			asm.FnMsgRedirectHash.Call(),
			asm.Mov.Imm(asm.R0, 1), // SK_PASS, redirected or not
			asm.Return(),
		},
	}
}

// addAll puts every TCP connection of this process into the hash, and returns how many it has added.
// Those that are there already stay.
func (h *hash) addAll(t *testing.T) (added int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		key, ok := portsOf(fd)
		if !ok {
			continue
		}
		if err := h.sockets.Update(key, uint32(fd), ebpf.UpdateAny); err == nil { // else it is there, or closed by now
			added++
		}
	}
	return added
}

// portsOf returns the key of a TCP connection over IPv4.
func portsOf(fd int) (ports, bool) {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return ports{}, false
	}
	remote, err := unix.Getpeername(fd)
	if err != nil {
		return ports{}, false
	}
	l, ok := local.(*unix.SockaddrInet4)
	r, ok2 := remote.(*unix.SockaddrInet4)
	if !ok || !ok2 {
		return ports{}, false
	}
	return ports{uint32(l.Port), uint32(r.Port)}, true
}
