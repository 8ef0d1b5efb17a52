//go:build unix && !linux

package handover

import (
	"net"
	"os"
)

// peerOf returns the process at the other end of a connection: the parent.
func peerOf(*net.UnixConn) int { return os.Getppid() }
