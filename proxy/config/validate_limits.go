package config

import (
	"fmt"
	"math"
)

func (v *validator) limits(c *Config) {
	const size = "limits.max_request_bytes"
	switch n := c.MaxRequestBytes; {
	case n == 0: // the default
	case n < MinRequestBytes:
		v.add(size, fmt.Sprintf("%d bytes are too few for a client to start with", n), fmt.Sprintf("write %d or more; Kafka's own default is %d", MinRequestBytes, DefaultMaxRequestBytes))
	case n > math.MaxInt32:
		v.add(size, fmt.Sprintf("%d is more than a request can say that it is long", n), fmt.Sprintf("write %d or less", math.MaxInt32))
	}
	const before = "limits.max_request_bytes_before_login"
	if n := c.MaxRequestBytesBeforeLogin; n != 0 && n < MinRequestBytes {
		v.add(before, fmt.Sprintf("%d bytes are too few for a client to log in with", n), fmt.Sprintf("write %d or more; Kafka's own default is %d", MinRequestBytes, DefaultMaxRequestBytesBeforeLogin))
	}
	v.duration("limits.first_request_timeout", c.FirstRequestTimeout)
	v.duration("limits.handshake_timeout", c.HandshakeTimeout)
	v.count("limits.max_handshakes", c.MaxHandshakes)
	if c.MaxHeldBytes != 0 && c.MaxHeldBytes < MinHeldBytes {
		v.add("limits.max_held_bytes", fmt.Sprintf("%d is less than one large response takes", c.MaxHeldBytes),
			fmt.Sprintf("write at least %d, or 0 for a quarter of the memory limit", MinHeldBytes))
	}
	v.count("limits.max_connections", c.MaxConnections)
	v.duration("limits.idle_timeout", c.IdleTimeout)
	v.duration("limits.max_age", c.MaxAge)
	if j := c.MaxAgeJitter; !(j >= 0 && j < 1) { // NaN is neither
		v.add("limits.max_age_jitter", fmt.Sprintf("%v is no part of an age", j), "write 0 or more and less than 1, such as 0.1 for the last tenth of max_age")
	}
	v.duration("drain.timeout", c.DrainTimeout)
}

// listenerLimits checks one listener's own limits. One that another limit keeps
// from ever being reached would be a setting without effect.
func (v *validator) listenerLimits(key string, l *ListenerLimits) {
	key += ".limits"
	all, source := key+".max_connections", key+".max_per_source"
	v.count(all, l.MaxConnections)
	v.count(source, l.MaxPerSource)
	v.count(key+".accept_rate", l.AcceptRate)
	v.reachable(all, l.MaxConnections, "limits.max_connections", v.maxConnections)
	if v.reachable(source, l.MaxPerSource, all, l.MaxConnections) {
		v.reachable(source, l.MaxPerSource, "limits.max_connections", v.maxConnections)
	}
}

// reachable reports whether n connections are possible below a wider limit.
func (v *validator) reachable(key string, n int, widerKey string, wider int) bool {
	if wider <= 0 || n <= wider {
		return true
	}
	v.add(key, fmt.Sprintf("%d connections are never reached, because %s is %d", n, widerKey, wider), fmt.Sprintf("write %d or less, or raise %s", wider, widerKey))
	return false
}

func (v *validator) count(key string, n int) {
	if n < 0 {
		v.add(key, fmt.Sprintf("%d is less than nothing", n), "write 0 for no limit of its own, or a positive number")
	}
}
