package cluster

import "kproxy/internal/via"

// Close closes the connections and processes of the via, and waits for their end. It also
// ends the requests that the login makes in the background. No connection may be in use.
func (c *Cluster) Close() {
	w := c.Way()
	w.method.close()
	w.via.close()
}

// viaFix returns the fix for a dial that failed in the via.
func viaFix(e *via.Error) string {
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
