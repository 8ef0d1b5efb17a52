//go:build !unix

package handover

import (
	"errors"
	"net"
	"os"
)

// IsSupported reports whether this system can pass sockets to a new process.
const IsSupported = false

var errUnsupported = errors.New("this system cannot pass sockets to another process")

func rights([]int) []byte                    { return nil }
func controlLen() int                        { return 0 }
func descriptors([]byte, int) ([]int, error) { return nil, nil }
func closeAll([]int)                         {}
func duplicate(net.Listener) (int, error)    { return -1, errUnsupported }
func listenerOf(int) (net.Listener, error)   { return nil, errUnsupported }
func pair() (*net.UnixConn, *os.File, error) { return nil, nil, errUnsupported }
func connOf(int) (*net.UnixConn, error)      { return nil, errUnsupported }
func peerOf(*net.UnixConn) int               { return os.Getppid() }
