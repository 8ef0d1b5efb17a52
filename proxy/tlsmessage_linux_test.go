package proxy_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/crypto/chacha20poly1305"

	"kproxy/proxy"
)

// unfinishedMessage returns the records of a TLS 1.3 peer that sends the begin of a message of
// 65,535 bytes, and not its end. label is that of the peer's secret in the key log, and sequence
// the number of records that it has sent since the handshake.
func unfinishedMessage(t *testing.T, suite uint16, keyLog, label string, sequence uint64) []byte {
	t.Helper()
	var secret []byte
	for line := range strings.Lines(keyLog) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == label {
			secret, _ = hex.DecodeString(words[2])
		}
	}
	hashed, keyLength := sha256.New, 16
	switch suite {
	case tls.TLS_AES_256_GCM_SHA384:
		hashed, keyLength = sha512.New384, 32
	case tls.TLS_CHACHA20_POLY1305_SHA256:
		keyLength = chacha20poly1305.KeySize
	}
	expand := func(label string, length int) []byte { // RFC 8446, section 7.1
		info := append([]byte{byte(length >> 8), byte(length), byte(len("tls13 " + label))}, "tls13 "+label...)
		key, err := hkdf.Expand(hashed, secret, string(append(info, 0)), length)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	var aead cipher.AEAD
	if suite == tls.TLS_CHACHA20_POLY1305_SHA256 {
		aead, _ = chacha20poly1305.New(expand("key", keyLength))
	} else {
		block, err := aes.NewCipher(expand("key", keyLength))
		if err != nil {
			t.Fatal(err)
		}
		aead, _ = cipher.NewGCM(block)
	}
	const handshake, applicationData, newSessionTicket = 22, 23, 4
	message := append([]byte{newSessionTicket, 0, 0xff, 0xff}, make([]byte, 60_000)...)
	var records []byte
	for len(message) > 0 {
		n := min(len(message), 16<<10)
		plain := append(bytes.Clone(message[:n]), handshake)
		message = message[n:]
		nonce := expand("iv", aead.NonceSize())
		counter := nonce[len(nonce)-8:]
		binary.BigEndian.PutUint64(counter, binary.BigEndian.Uint64(counter)^sequence)
		sequence++
		header := binary.BigEndian.AppendUint16([]byte{applicationData, 3, 3}, uint16(len(plain)+aead.Overhead()))
		records = append(records, header...)
		records = aead.Seal(records, nonce, plain, header)
	}
	return records
}

// The begin of a TLS message that never ends is not kept: neither a client's, before its first
// request and after it, nor a broker's.
func TestUnfinishedTLSMessage(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	for name, served := range map[string]bool{"before the first request": false, "after it": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newEdgeLab(t)
			b := l.startBroker(t, 0, 0)
			l.start(t, l.conf)
			var keyLog strings.Builder
			conf := l.client(t)
			conf.KeyLogWriter = &keyLog
			conf.MinVersion = tls.VersionTLS13
			c := l.come(t, "bob.test:9092", conf)
			secure := c.conn.(*tls.Conn)
			sent := uint64(0)
			if served {
				c.send(0, heartbeat())
				s := b.take()
				s.request(kmsg.Heartbeat, 0)
				s.answer(0, heartbeatAnswer())
				c.receive(0, heartbeatAnswer())
				sent++
			} else if err := secure.HandshakeContext(t.Context()); err != nil {
				t.Fatal(err)
			}
			begin := unfinishedMessage(t, secure.ConnectionState().CipherSuite, keyLog.String(), "CLIENT_TRAFFIC_SECRET_0", sent)
			if _, err := secure.NetConn().Write(begin); err != nil {
				t.Fatal(err)
			}
			l.ended(t, proxy.TLSFailed)
			l.log.has(t, "no data in them")
		})
	}
	t.Run("a broker's", func(t *testing.T) {
		t.Parallel()
		l := newSecureLab(t)
		var keyLogs sync.Map // client's address -> *strings.Builder
		l.brokerTLS.MinVersion = tls.VersionTLS13
		l.brokerTLS.SessionTicketsDisabled = true // no record before the first response
		each := l.brokerTLS.Clone()
		l.brokerTLS.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			keyLog, own := new(strings.Builder), each.Clone()
			keyLogs.Store(hello.Conn.RemoteAddr().String(), keyLog)
			own.KeyLogWriter = keyLog
			return own, nil
		}
		b := l.startBroker(t, 0, 0)
		l.start(t, l.trusting(t))
		c := l.dial(t, "bob.test:9092")
		c.send(0, heartbeat())
		s := b.take()
		s.request(kmsg.Heartbeat, 0)
		secure := s.conn.(*tls.Conn)
		keyLog, _ := keyLogs.Load(secure.RemoteAddr().String())
		begin := unfinishedMessage(t, secure.ConnectionState().CipherSuite, keyLog.(*strings.Builder).String(), "SERVER_TRAFFIC_SECRET_0", 0)
		if _, err := secure.NetConn().Write(begin); err != nil {
			t.Fatal(err)
		}
		l.ended(t, proxy.BadAnswer)
	})
}
