package live

import (
	"errors"

	"kproxy/internal/auth"
	"kproxy/internal/doctor"
	"kproxy/internal/upstream"
	"kproxy/proxy"
)

// upstreamFix returns the key to change, and the advice, for a broker that is not reached. key
// is that of its address.
func (c *clusterCheck) upstreamFix(key string, node int32, v doctor.Verdict, err error) (string, string) {
	cluster := c.conf.Key
	switch v { //nolint:exhaustive // the others follow
	case doctor.Untrusted:
		return cluster + ".tls.ca", "name a file with the certificate of the authority that issued the broker's"
	case doctor.WrongName, doctor.TLSName:
		return cluster + ".tls.server_name", "have the broker's certificate issued with the name that it advertises, or set server_name to a name that all brokers' certificates have"
	case doctor.WantsCert, doctor.CertRefused:
		return cluster + ".tls.cert", "set tls.cert and tls.key to a certificate that the brokers' truststore knows"
	case doctor.WantsTLS:
		return cluster + ".tls", "give the cluster tls, or the brokers' port without TLS"
	case doctor.NoTLS:
		return cluster + ".tls", "take tls from the cluster, or give the brokers' port with TLS"
	case doctor.Expired, doctor.TLSVersion, doctor.TLSFailed:
		return cluster + ".tls", proxy.Advice(err)
	case doctor.NotDialled:
		if refused, ok := errors.AsType[*upstream.RefusedError](err); ok {
			return cluster + ".brokers", refused.Fix
		}
		return cluster + ".brokers", "admit the address"
	case doctor.ViaFailed:
		return cluster + ".via", proxy.Advice(err)
	case doctor.Mechanism, doctor.Password, doctor.NoLogin, doctor.Plaintext, doctor.LoginFailed, doctor.LoginWanted:
		return c.loginFix(v, err)
	}
	if node == upstream.NoNode {
		return key, bootstrapFix(v)
	}
	return key, nodeFix(v)
}

// loginFix is upstreamFix for a login.
func (c *clusterCheck) loginFix(v doctor.Verdict, err error) (string, string) {
	key := c.conf.Key + ".sasl"
	if c.login != key && c.login != "" {
		return c.conf.Key, "see whether the login in " + c.login + " is right: kproxy passes it on to the brokers"
	}
	switch login, _ := errors.AsType[*auth.LoginError](err); {
	case v == doctor.Mechanism:
		return key + ".mechanism", "set it to a mechanism that the broker offers"
	case v == doctor.Plaintext:
		return key + ".allow_plaintext", "give the cluster tls, or allow it if the network may see the secret"
	case v == doctor.LoginWanted:
		return key, "the bootstrap address wants no login and this broker does: have all brokers advertise ports of one kind, or give the cluster sasl"
	case v == doctor.Password:
		return key, "see whether username and password are right, and whether the user has credentials for this mechanism at the broker"
	case login != nil && login.Fix != "":
		return key, login.Fix
	default:
		return key, "see the broker's log, and the keys of sasl"
	}
}

func bootstrapFix(v doctor.Verdict) string {
	switch v {
	case doctor.NameUnknown, doctor.NameTimeout:
		return "write a name that resolves here, or reach the brokers through a via"
	case doctor.IsControl:
		return "give the address of a broker's listener: a KRaft controller serves no clients"
	case doctor.OtherThing, doctor.ProxyFirst, doctor.ClosesFirst, doctor.Closes, doctor.Silent, doctor.BadKafka:
		return "give the address of a broker's listener, and see whether that broker runs; a balancer before it may have nothing behind it, or want a PROXY header (proxy_protocol)"
	default:
		return "see whether the broker runs, and whether a firewall lets connections from here through; or reach the brokers through a via"
	}
}

func nodeFix(v doctor.Verdict) string {
	switch v {
	case doctor.AnotherNode, doctor.Balancer, doctor.SameAddress:
		return "lead each node to its own broker: correct the dial rule, the port mapping or the balancer, or the addresses that the brokers advertise"
	case doctor.Stranger:
		return "lead the node to a broker of this cluster: correct the dial rule, or the address that the broker advertises"
	case doctor.Wildcard, doctor.NoAddress:
		return "have the broker advertise a host and a port that work from here, or give the node a dial rule"
	case doctor.NameUnknown, doctor.NameTimeout:
		return "add a dial rule from its advertised name to an address that works from here, or reach the brokers through a via"
	default:
		return "see whether the broker runs; if it is elsewhere from here, add a dial rule that leads there"
	}
}
