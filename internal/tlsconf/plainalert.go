package tlsconf

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
)

// alertWatch is a client's connection during its handshake. It remembers the end of the bytes that came.
//
// A client on OpenSSL that does not trust the certificate sends an alert in TLS 1.3 that is not
// encrypted: it has not switched to its keys yet. crypto/tls has the client's keys by then, and cannot
// decrypt the alert. Its error is "bad record MAC". Nothing authenticates such an alert, so anybody on the path can
// write one; they can as well before there are keys. It changes the reason of a failed handshake alone.
type alertWatch struct {
	net.Conn

	last [alertSize]byte // the last bytes that came
	done bool
}

// NetConn is the connection under it.
func (w *alertWatch) NetConn() net.Conn { return w.Conn }

func (w *alertWatch) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if !w.done && n > 0 {
		end := append(w.last[:], b[max(0, n-alertSize):n]...)
		copy(w.last[:], end[len(end)-alertSize:])
	}
	return n, err
}

// alertSize is the size of a record with a plaintext alert: its header, the level, the description.
const alertSize = 7

// alertStart is the beginning of such a record, of a fatal alert. The version is that of TLS 1.2
// in TLS 1.3, too.
var alertStart = []byte{21, 3, 3, 0, 2, 2}

// alertInstead returns the client's alert as crypto/tls returns alerts, if that is behind err.
func (w *alertWatch) alertInstead(err error) error {
	const badRecordMAC = tls.AlertError(20)
	local, ok := errors.AsType[*net.OpError](err)
	if !ok || local.Op != "local error" || local.Err.Error() != badRecordMAC.Error() || !bytes.HasPrefix(w.last[:], alertStart) {
		return err
	}
	return &net.OpError{Op: "remote error", Err: tls.AlertError(w.last[alertSize-1])}
}
