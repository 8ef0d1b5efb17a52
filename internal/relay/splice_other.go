//go:build !linux

package relay

import (
	"context"
	"math"
	"net"
	"sync/atomic"
)

// On systems other than Linux everything is copied, and a stream that waits for bytes holds
// a buffer for them.

const (
	minSplice = math.MaxInt
	peekSize  = 0
)

type (
	rawReader struct{}
	rawWriter struct{}
	PipePool  struct{}

	rawTCPConn struct{}
)

func newRawReader(net.Conn, *Stream) *rawReader      { return nil }
func newRawWriter(net.Conn, *atomic.Bool) *rawWriter { return nil }
func NewPipePool(int) *PipePool                      { return nil }

func NewRawTCPConn(conn net.Conn) net.Conn { return conn }
func rawUnder(net.Conn) *rawTCPConn        { return nil }
func (*rawTCPConn) hasData()               {}

func (*rawReader) read(int) (int, error) { panic("there is none") }
func (*rawReader) discard(int) error     { panic("there is none") }

func (*rawWriter) write([]byte, bool) (int, error) { panic("there is none") }

func (*Stream) canSplice() bool         { return false }
func (*Stream) splice(int) (int, error) { return 0, nil }
func (*Stream) holds() bool             { return false }
func (*Stream) roomy() bool             { return false }
func (*Stream) readMore(int)            {}
func (*Stream) drainAfterPassed() error { return nil }
func (*Stream) drainWithTail() error    { return nil }

func (*Stream) putTLS([]byte) (int, error) { panic("there is none") }
func (*Stream) readRecords([]byte) int     { panic("there is none") }

func Probe(context.Context) error { return nil }

func (*PipePool) Close()                  {}
func (*PipePool) Files() int              { return 0 }
func (*PipePool) Hidden() int64           { return 0 }
func (*PipePool) Refused() (int64, error) { return 0, nil }
