package live

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"kproxy/internal/doctor"
	"kproxy/internal/foreign"
)

// certificates are those that endpoints show.
type certificates struct {
	mu   sync.Mutex                   // guards leaf
	leaf map[string]*x509.Certificate // by advertised address
}

// at returns a function that keeps the certificate of a connection to an advertised address.
func (c *certificates) at(address string) func(net.Conn) {
	return func(conn net.Conn) {
		secure, ok := conn.(*tls.Conn)
		if !ok {
			return
		}
		if chain := secure.ConnectionState().PeerCertificates; len(chain) > 0 {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.leaf == nil {
				c.leaf = map[string]*x509.Certificate{}
			}
			c.leaf[address] = chain[0]
		}
	}
}

func (c *certificates) get(address string) *x509.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaf[address]
}

// isBad reports whether the certificate that an endpoint shows has another name than the
// advertised one, or is not valid now. The handshake with a client's configuration has verified
// both already.
func (l *walk) isBad(address string) bool {
	leaf := l.shown.get(address)
	return leaf != nil && l.client == nil && (leaf.VerifyHostname(hostOf(address)) != nil || !isCurrent(leaf))
}

func isCurrent(leaf *x509.Certificate) bool {
	now := time.Now()
	return !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter)
}

// judgeCertificates compares the certificates that the endpoints show with their advertised
// names, and with the time.
func (l *walk) judgeCertificates(nodes ...[]int32) {
	addresses := []string{l.of.Advertised}
	for _, node := range slices.Concat(nodes...) {
		addresses = append(addresses, l.of.Endpoints[node].Advertised)
	}
	var unnamed, notCurrent []string
	var first *x509.Certificate // of those that are good, the one that ends first
	hosts := map[string]bool{}
	for _, address := range addresses {
		leaf := l.shown.get(address)
		if leaf == nil {
			continue
		}
		if l.client == nil && leaf.VerifyHostname(hostOf(address)) != nil {
			unnamed = append(unnamed, address)
		}
		if l.client == nil && !isCurrent(leaf) {
			notCurrent = append(notCurrent, address)
		}
		if !l.isBad(address) {
			hosts[hostOf(address)] = true
			if first == nil || leaf.NotAfter.Before(first.NotAfter) {
				first = leaf
			}
		}
	}
	key := l.of.Key + ".tls.certs"
	if len(unnamed) > 0 {
		l.add(Finding{
			Level: Fault, Key: key, Kind: Kind(doctor.WrongName), Address: unnamed[0],
			Says: "the certificate shown at " + few(unnamed) + " is not for this name" + named(l.shown.get(unnamed[0])),
			Fix:  l.words.wrongName,
		})
	}
	if len(notCurrent) > 0 {
		leaf := l.shown.get(notCurrent[0])
		l.add(Finding{
			Level: Fault, Key: key, Kind: Kind(doctor.Expired), Address: notCurrent[0],
			Says: fmt.Sprintf("the certificate shown at %s is valid from %s to %s only", few(notCurrent), dateOf(leaf.NotBefore), dateOf(leaf.NotAfter)),
			Fix:  "renew the certificate, or set the clock here",
		})
	}
	if first == nil || !l.isRunning {
		return // a configuration's certificates have been read
	}
	l.ok(key, Covered, fmt.Sprintf("the certificates shown are for %s, and valid until %s at least", counted(len(hosts), "advertised name"), dateOf(first.NotAfter)))
	if l.client == nil {
		l.note(key, NotChecked, "whether clients trust the certificate, which "+foreign.LineOf(first.Issuer.String(), maxIssuer)+" has issued", "name the configuration of a client (--config-from)")
	}
}

const maxIssuer = 120 // characters of the name of an authority

func dateOf(t time.Time) string { return t.UTC().Format("2006-01-02") }

// named lists the names of a certificate, for a sentence.
func named(leaf *x509.Certificate) string {
	names := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return ": it has no name"
	}
	return ", but for " + few(names)
}
