//go:build linux

package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"
)

// Namespace is a network of its own on this machine. A process inside reaches the
// addresses that its links give it, and no others.
type Namespace struct {
	lock *flock.Flock // held by the run that owns the network
	Name string       // as `ip netns` shows it; at most 12 bytes
}

// NewNamespace makes a network with a loopback interface and nothing else. It removes a
// namespace of this name that a killed run has left. It needs root. The owner must Close
// it.
func NewNamespace(name string) (*Namespace, error) {
	for tool, install := range map[string]string{"ip": "iproute2", "nft": "nftables"} {
		if _, err := Tool(tool, "network namespaces (Debian: apt-get install "+install+")"); err != nil {
			return nil, err
		}
	}
	n := &Namespace{Name: name, lock: lockOf(name)}
	if mine, err := n.lock.TryLock(); err != nil || !mine {
		return nil, fmt.Errorf("the network namespace %s is of a run that goes on (%w); wait for its end", name, cmp.Or(err, errors.New("locked")))
	}
	n.remove()
	if err := run("ip", "netns", "add", name); err != nil {
		return nil, err
	}
	return n, n.Run("ip", "link", "set", "lo", "up")
}

// lockOf is the lock of the network of this name.
func lockOf(name string) *flock.Flock {
	return flock.New(filepath.Join(os.TempDir(), "kproxy-lab-"+name+".lock"))
}

// RemoveNamespace removes a namespace of this name that an ended run has left. It keeps
// one whose run goes on.
func RemoveNamespace(name string) {
	n := &Namespace{Name: name, lock: lockOf(name)}
	if mine, err := n.lock.TryLock(); err == nil && mine {
		n.Close()
	}
}

// Close removes the network, with its links. Processes in it lose theirs.
func (n *Namespace) Close() {
	n.remove()
	_ = n.lock.Unlock() // it goes with the process, too
}

func (n *Namespace) remove() {
	_ = run("ip", "netns", "del", n.Name) // it may be gone
	_ = os.RemoveAll(n.etc())
}

// etc is the directory that `ip netns exec` mounts over /etc.
func (n *Namespace) etc() string { return filepath.Join("/etc/netns", n.Name) }

// Hosts gives the network names of its own, for the processes started by Command
// after it: only these resolve in it.
func (n *Namespace) Hosts(addresses map[string]string) error {
	if err := os.MkdirAll(n.etc(), 0o755); err != nil {
		return err
	}
	var hosts strings.Builder
	hosts.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for name, address := range addresses {
		fmt.Fprintln(&hosts, address, name)
	}
	// A name server that refuses at once: nothing listens there.
	return errors.Join(
		os.WriteFile(filepath.Join(n.etc(), "hosts"), []byte(hosts.String()), 0o644),
		os.WriteFile(filepath.Join(n.etc(), "resolv.conf"), []byte("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"), 0o644),
		os.WriteFile(filepath.Join(n.etc(), "nsswitch.conf"), []byte("hosts: files dns\n"), 0o644),
	)
}

// Command makes a command run inside. A nil Namespace is the network that the
// caller is in.
func (n *Namespace) Command(cmd *exec.Cmd) *exec.Cmd {
	if n == nil {
		return cmd
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		cmd.Err = err // Start returns it
		return cmd
	}
	cmd.Args = append([]string{ip, "netns", "exec", n.Name, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = ip
	return cmd
}

// Run runs a command inside to its end.
func (n *Namespace) Run(args ...string) error {
	return run(append([]string{"ip", "netns", "exec", n.Name}, args...)...)
}

func run(args ...string) error {
	if out, err := exec.CommandContext(context.Background(), args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s; it needs root", strings.Join(args, " "), err, out)
	}
	return nil
}

// Link joins the network with another; nil is the one that the caller is in. Each
// end is named after the network at the other end and has an address with its prefix, such as
// "10.213.7.1/30".
func (n *Namespace) Link(address string, other *Namespace, otherAddress string) error {
	in := func(n *Namespace, args ...string) error {
		if n == nil {
			return run(append([]string{"ip"}, args...)...)
		}
		return run(append([]string{"ip", "-n", n.Name}, args...)...)
	}
	near, far := "to-"+n.Name, "to-here"
	if other != nil {
		far = "to-" + other.Name
	}
	_ = in(other, "link", "del", near) // of a run that was killed
	return errors.Join(
		in(other, "link", "add", near, "type", "veth", "peer", "name", far, "netns", n.Name),
		in(other, "addr", "add", otherAddress, "dev", near),
		in(other, "link", "set", near, "up"),
		in(n, "addr", "add", address, "dev", far),
		in(n, "link", "set", far, "up"),
	)
}

// Inside runs f on a thread that is in the network. The sockets that it opens
// stay there. A nil Namespace is the network that the caller is in.
func (n *Namespace) Inside(f func() error) error {
	if n == nil {
		return f()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		handle, err := os.Open(filepath.Join("/run/netns", n.Name))
		if err == nil {
			err = unix.Setns(int(handle.Fd()), unix.CLONE_NEWNET)
			_ = handle.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		return fmt.Errorf("in the network namespace %s: %w", n.Name, err)
	}
	return nil
}

// Dial is net.Dialer.DialContext inside the network, for an address.
func (n *Namespace) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	var d net.Dialer
	err = n.Inside(func() error {
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}
