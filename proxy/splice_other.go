//go:build !linux

package proxy

import (
	"math"
	"net"
)

// Elsewhere than on Linux everything is copied, and a connection that waits for
// bytes holds a buffer for them.

const (
	minSplice  = math.MaxInt
	glanceSize = 0
)

type (
	inlet  struct{}
	outlet struct{}
	ducts  struct{}

	rawTCPConn struct{}
)

func newInlet(net.Conn, *pipe) *inlet { return nil }
func newOutlet(net.Conn) *outlet      { return nil }
func newDucts(int) *ducts             { return nil }

func newRawTCPConn(conn net.Conn) net.Conn { return conn }
func rawUnder(net.Conn) *rawTCPConn        { return nil }

func (*inlet) read(int) (int, error) { panic("there is none") }
func (*inlet) discard(int) error     { panic("there is none") }

func (*outlet) write([]byte, bool) (int, error) { panic("there is none") }

func (*pipe) canSplice() bool         { return false }
func (*pipe) splice(int) (int, error) { return 0, nil }
func (*pipe) holds() bool             { return false }
func (*pipe) roomy() bool             { return false }
func (*pipe) glean(int)               {}
func (*pipe) pourAhead() error        { return nil }
func (*pipe) pourBehind() error       { return nil }

func (*pipe) putTLS([]byte) (int, error) { panic("there is none") }
func (*pipe) gather([]byte) int          { panic("there is none") }

func (*ducts) close()     {}
func (*ducts) files() int { return 0 }
