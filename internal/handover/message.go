package handover

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// protocol is the version of the messages. A process that gets a hello of another one refuses the
// hand-over. Fields can be added to a message without another version.
const protocol = 1

const (
	headerLen  = 8
	maxPayload = 64 << 10 // bytes: maxBatch addresses have 20 KiB
	maxBatch   = 64       // descriptors of one message; Linux allows 253
	maxSockets = 1 << 20  // of a hello
	maxLines   = 100      // of a failure
	maxLine    = 2000     // characters of a text
	maxID      = 1 << 52  // of a hello: every program can read a number with more than that
)

// magic begins every message.
var magic = [2]byte{'k', 'h'}

// kind is the kind of a message.
type kind uint8

const (
	kindHello    kind = iota + 1 // helloBody
	kindSockets                  // socketsBody, with descriptors
	kindStatus                   // textBody
	kindBound                    // nothing
	kindReleased                 // nothing
	kindReady                    // readyBody
	kindCommit                   // nothing
	kindServing                  // nothing
	kindFailed                   // failedBody
	kindSessions                 // sessionsBody

	kinds
)

// String returns the name.
func (k kind) String() string {
	names := map[kind]string{
		kindHello: "hello", kindSockets: "sockets", kindStatus: "status", kindBound: "bound", kindReleased: "released",
		kindReady: "ready", kindCommit: "commit", kindServing: "serving", kindFailed: "failed", kindSessions: "sessions",
	}
	if name, ok := names[k]; ok {
		return name
	}
	return fmt.Sprintf("unknown kind %d", uint8(k))
}

type helloBody struct {
	Protocol int           `json:"protocol"`
	Sockets  int           `json:"sockets"` // how many follow
	Timeout  time.Duration `json:"timeout"` // for the new process to become ready
	Drain    time.Duration `json:"drain"`   // how long the old one drains at most
	IDsAbove uint64        `json:"ids_above,omitempty"`
}

type socketsBody struct {
	Addresses []string `json:"addresses"` // one for each descriptor
}

type textBody struct {
	Text string `json:"text"`
}

type readyBody struct {
	Version string `json:"version"` // the program's
}

type failedBody struct {
	Reasons []string `json:"reasons"`
}

type sessionsBody struct {
	Sessions int `json:"sessions"` // that the old process still has
}

// message is one message that has come.
type message struct {
	kind  kind
	body  []byte
	files []int // descriptors, which the receiver closes
}

// link is one end of the connection between the two processes.
//
// A message is a header of eight bytes, with the descriptors beside it, and its body in JSON:
//
//	'k' 'h' | kind | number of descriptors | length of the body, 4 bytes, big endian
type link struct {
	conn    *net.UnixConn
	writing sync.Mutex
}

// send sends a message. body nil is an empty one. The descriptors stay the caller's.
func (l *link) send(k kind, body any, files ...int) error {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return err
		}
	}
	if len(b) > maxPayload || len(files) > maxBatch {
		return fmt.Errorf("a message %v of %d bytes and %d descriptors is too large", k, len(b), len(files))
	}
	frame := append(make([]byte, 0, headerLen+len(b)), magic[0], magic[1], byte(k), byte(len(files)))
	frame = append(binary.BigEndian.AppendUint32(frame, uint32(len(b))), b...)
	l.writing.Lock()
	defer l.writing.Unlock()
	n, _, err := l.conn.WriteMsgUnix(frame, rights(files), nil)
	if err == nil && n < len(frame) {
		_, err = l.conn.Write(frame[n:])
	}
	return err
}

// receive waits for a message. The error wraps io.EOF if the other process has ended.
func (l *link) receive() (m message, err error) {
	header, control := make([]byte, headerLen), make([]byte, controlLen())
	n, controls, flags, _, err := l.conn.ReadMsgUnix(header, control)
	if err != nil {
		return message{}, err
	}
	if m.files, err = descriptors(control[:controls], flags); err != nil {
		return message{}, err
	}
	defer func() {
		if err != nil {
			closeAll(m.files)
			m = message{}
		}
	}()
	if _, err := io.ReadFull(l.conn, header[n:]); err != nil {
		return m, err
	}
	m.kind = kind(header[2])
	length := binary.BigEndian.Uint32(header[4:])
	switch {
	case [2]byte(header) != magic:
		return m, errors.New("the other process does not speak kproxy's hand-over protocol")
	case m.kind == 0 || m.kind >= kinds:
		return m, fmt.Errorf("a message of %v", m.kind)
	case length > maxPayload:
		return m, fmt.Errorf("a message %v of %d bytes, and %d are the most", m.kind, length, maxPayload)
	case int(header[3]) != len(m.files):
		return m, fmt.Errorf("a message %v came with %d descriptors, and names %d", m.kind, len(m.files), header[3])
	case len(m.files) > 0 && m.kind != kindSockets:
		return m, fmt.Errorf("a message %v came with descriptors", m.kind)
	}
	m.body = make([]byte, length)
	_, err = io.ReadFull(l.conn, m.body)
	return m, err
}

// decode reads the body of a message into body.
func (m *message) decode(body any) error {
	if err := json.Unmarshal(m.body, body); err != nil {
		return fmt.Errorf("a message %v cannot be read: %w", m.kind, err)
	}
	return nil
}
