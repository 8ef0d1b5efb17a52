package cluster

import (
	"fmt"
	"log/slog"
	"time"

	"kproxy/internal/logkey"
	"kproxy/internal/via"
)

// viaKeepalive is how often an SSH connection is asked whether it lives, unless
// keepalive is less. The sweep for peers that are gone sees TCP only, and what ssh
// gives is none.
const viaKeepalive = 15 * time.Second

// goVia makes the cluster's dialer go through the configured via, if there is one.
// Nothing is connected or started.
func (c *Cluster) goVia() error {
	if c.conf.Via.URL == "" {
		return nil
	}
	conf := c.conf.ViaConfig()
	conf.Timeout = c.conf.ConnectTimeout
	conf.KeepAlive = min(viaKeepalive, c.conf.Keepalive)
	conf.DialProxy = c.dialer.DialNear
	conf.OnStderr = func(target, line string) {
		c.log.Debug("the via command says", slog.String(logkey.Upstream, target), slog.String(logkey.Line, line))
	}
	var err error
	if c.Via, err = via.New(conf); err != nil {
		return fmt.Errorf("clusters.%s.%w", c.conf.Name, err)
	}
	c.dialer.Through = c.Via.DialContext
	return nil
}

// Close ends what the way through keeps, and waits for it. It ends what the login
// asks in the background, too.
func (c *Cluster) Close() {
	if c.Method != nil {
		c.Method.Close()
	}
	if c.Via != nil {
		_ = c.Via.Close() // its error is always nil
	}
}

// ViaFix is what to do about a dial that failed on the way through.
func ViaFix(e *via.Error) string {
	switch e.Outcome {
	case via.OutcomeCredentials:
		return "look at the files that via_key_file, via_passphrase_file and via_password_file name, or at the SSH agent"
	case via.OutcomeProxyUnreachable:
		return "look at the machine or the command that via names, and at the way there"
	case via.OutcomeProxyUntrusted:
		return "compare the host's key or certificate with the one that its administrator gives; ssh's is in via_known_hosts"
	case via.OutcomeProxyProtocol:
		return "see whether via names the right port and scheme"
	case via.OutcomeLoginRefused:
		return "see whether via's user, and its password or key, are those that the proxy knows"
	case via.OutcomeTargetRefused:
		return "have the proxy allow connections to the brokers' addresses, or add a dial rule that leads to one that it allows"
	case via.OutcomeTargetInvalid:
		return "add a dial rule from the broker's advertised name to a host name or an IP address"
	default:
		return "if the broker runs, add a dial rule from its advertised name to an address that works from the far side of via"
	}
}
