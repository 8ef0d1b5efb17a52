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
