package tlsconf

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
)

// ticketKeySize is the size of a session ticket's key, in bytes, and the least
// that a file of one may have.
const ticketKeySize = 32

// ticketPurpose keeps the keys derived here apart from any other use of the same
// files.
const ticketPurpose = "kproxy session tickets v1"

// newTickets makes the keys that seal and open session tickets: a [tls.Config] of which
// only the ticket keys are used. A session that is resumed brings the client's
// certificate with it, unasked; so a ticket must open nothing but the listener that it
// comes from, and only while that has the same client authorities. The listener's own
// keys ensure the first, and a new set of keys for each set of authorities the second.
// Replicas have secrets in common, and derive from each the same keys by the listener's
// name and the digest of its authorities.
//
// Without secrets, crypto/tls makes keys itself, a new one each day.
func newTickets(listener string, authorities [sha256.Size]byte, secrets [][]byte) (*tls.Config, error) {
	tickets := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(secrets) == 0 {
		return tickets, nil
	}
	info := ticketPurpose + "\x00" + string(authorities[:]) + listener
	keys := make([][ticketKeySize]byte, 0, len(secrets))
	for _, secret := range secrets {
		key, err := hkdf.Key(sha256.New, secret, nil, info, ticketKeySize)
		if err != nil {
			return nil, err
		}
		keys = append(keys, [ticketKeySize]byte(key))
	}
	tickets.SetSessionTicketKeys(keys)
	return tickets, nil
}
