package tlsconf

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Certificate is a certificate of the proxy's own, without its key, or the last one of a file of CAs.
type Certificate struct {
	File     string    // that it was read from
	Subject  string    // in the form of RFC 4514
	Names    []string  // DNS names and addresses that it is for
	NotAfter time.Time // when it ends

	digest [sha256.Size]byte
}

func describe(file string, c *x509.Certificate) Certificate {
	return Certificate{
		File:     file,
		Subject:  c.Subject.String(),
		Names:    namesOf(c),
		NotAfter: c.NotAfter,
		digest:   sha256.Sum256(c.Raw),
	}
}

// expiryWarnings are the times left at which a certificate is warned of.
var expiryWarnings = []time.Duration{30 * 24 * time.Hour, 7 * 24 * time.Hour, 24 * time.Hour, 0}

// warn reports the certificates that have passed another threshold. It is called with mu
// held. The reported thresholds are forgotten with the certificate.
func (s *store) warn(now time.Time) {
	told := make(map[string]int)
	for _, c := range s.current.Load().certificates {
		left := c.NotAfter.Sub(now)
		passed := len(expiryWarnings)
		if i := slices.IndexFunc(expiryWarnings, func(t time.Duration) bool { return left > t }); i >= 0 {
			passed = i
		}
		key := fmt.Sprintf("%s %x", c.File, c.digest)
		if passed > s.warned[key] && s.events.Expiring != nil {
			s.events.Expiring(c, left)
		}
		told[key] = passed
	}
	s.warned = told
}
