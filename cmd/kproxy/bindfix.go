package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"kproxy/internal/files"
)

// withBindFix adds advice to an error of starting that is about an address which cannot
// be bound.
func withBindFix(err error) error {
	if fix := bindFix(err, localPorts()); fix != "" {
		return fmt.Errorf("%w; %s", err, fix)
	}
	return err
}

// portRange are the ports that the kernel gives to outgoing connections; the zero value:
// they are not known.
type portRange struct{ first, last int }

// localPorts reads the range of this machine, of IPv6 too (Linux).
func localPorts() (r portRange) {
	text, err := files.Read(context.Background(), "/proc/sys/net/ipv4/ip_local_port_range", 100)
	if err != nil {
		return portRange{}
	}
	if _, err := fmt.Sscan(string(text), &r.first, &r.last); err != nil {
		return portRange{}
	}
	return r
}

// bindFix is the advice about an address that cannot be bound; "" for other errors.
func bindFix(err error, outgoing portRange) string {
	switch {
	case isHeld(err):
		held, _ := errors.AsType[*heldError](err)
		return held.fix
	case errors.Is(err, syscall.EADDRINUSE):
		if op, ok := errors.AsType[*net.OpError](err); ok {
			if at, ok := op.Addr.(*net.TCPAddr); ok && outgoing.first <= at.Port && at.Port <= outgoing.last {
				return fmt.Sprintf("port %d is one of those that the kernel gives to outgoing connections (net.ipv4.ip_local_port_range, %d-%d), and one may have it: "+
					"reserve it with sysctl net.ipv4.ip_local_reserved_ports, or choose another; or stop the process that listens there", at.Port, outgoing.first, outgoing.last)
			}
		}
		return "stop the process that listens there, or choose another address"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "choose an address that this machine has, or 0.0.0.0 for all of IPv4, or [::] for all"
	case errors.Is(err, syscall.EACCES) && isBind(err):
		return "choose a port above 1023, or give kproxy CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EMFILE):
		return "raise the limit of open files (ulimit -n), or choose a smaller range of nodes"
	default:
		return ""
	}
}

// isBind reports whether an error is about a socket: a file may be refused, too.
func isBind(err error) bool {
	_, ok := errors.AsType[*net.OpError](err)
	return ok
}

// heldError is an address that cannot be bound because a socket of kproxy's own has its port.
type heldError struct {
	error

	fix string
}

// Unwrap is the error of the system.
func (h *heldError) Unwrap() error { return h.error }

func isHeld(err error) bool {
	_, ok := errors.AsType[*heldError](err)
	return ok
}

// withHeld has bindFix give advice, if the error of a bind comes from a socket of kproxy's own: one of
// the same port, and of a wildcard or another spelling of the address. fix gets the address of that.
func withHeld(err error, own []net.Addr, fix func(held string) string) error {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	at, ok := op.Addr.(*net.TCPAddr)
	if !ok {
		return err
	}
	for _, addr := range own {
		if held, ok := addr.(*net.TCPAddr); ok && overlap(held, at) {
			return &heldError{err, fix(held.String())}
		}
	}
	return err
}

// overlap reports whether only one of two addresses can be bound at a time.
func overlap(a, b *net.TCPAddr) bool {
	return a.Port == b.Port && (a.IP.Equal(b.IP) || isWildcard(a) || isWildcard(b))
}

func isWildcard(a *net.TCPAddr) bool { return len(a.IP) == 0 || a.IP.IsUnspecified() }

// The advice of withHeld: in a hand-over, under a socket unit, and in a reload.
func heldByPredecessor(held string) string {
	return "the kproxy that hands over listens at " + held + ", and a hand-over cannot change that to an address which overlaps: keep it; or restart kproxy; or hand over to another port first, and then to this one"
}

func heldBySystemd(held string) string {
	return "a socket unit of systemd has " + held + ": write the same address in bind and in ListenStream="
}

func heldByItself(held string) string {
	return "kproxy itself listens at " + held + ", and a reload cannot change that to an address which overlaps: keep it; or restart kproxy; or reload with another port first, and then with this one"
}
