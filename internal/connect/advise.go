package connect

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"kproxy/internal/auth"
	"kproxy/internal/hostport"
	"kproxy/internal/tlsconf"
)

// What mends an address that a broker advertises. There are always two ways: the broker is
// told to advertise another, or clients here use kproxy, which tells them others.
const (
	fixAdvertised = "give the broker a listener whose advertised.listeners has an address that works from here, or have clients here use kproxy"
	fixLocalhost  = "the broker tells every client that it is on the client's own machine, which is true on the broker's only: " + fixAdvertised
	fixPrivate    = "it is a private address, which is reached inside its own network or over a VPN only: " + fixAdvertised
	fixName       = "the name is not known here, as that of a container or of a machine in a cloud is not: " + fixAdvertised + ", or put the name into DNS or this machine's hosts file"
	fixRefused    = "the machine is there, and nobody listens on that port: see whether the broker runs, and whether the port is the one that is mapped or forwarded to it"
	fixFiltered   = "no answer comes back: a firewall, a security group or a missing route drops what is sent there. Let this machine through, or " + fixAdvertised
	fixShared     = "the address leads to another broker, as that of a load balancer or of a port mapped for all does: each broker has to advertise an address that leads to itself, or clients here use kproxy"
	fixOneTLS     = "the cluster's listeners must have one security protocol for one name: look at listener.security.protocol.map, and at which listener advertises this address"
	fixNames      = "have the broker advertise a name that its certificate has, or put the name that it advertises into the certificate"
	fixNotKafka   = "see what listens there: it is no Kafka broker, or one that has hung"
)

// adviseNode says what is wrong with an address that a broker advertises, and what mends it.
func (a asker) adviseNode(ctx context.Context, f *Finding) (fix string, wrong error) {
	switch f.Failed() {
	case Name:
		if errors.Is(f.Err, errNoAddress) {
			return fixAdvertised, f.Err
		}
		return fixName, f.Err
	case Connect:
		return a.adviseConnect(f.Err, f.Address), f.Err
	case Itself:
		if a.onlyThere(f.Address) {
			return fixLocalhost, f.Err
		}
		return fixShared, f.Err
	case Login:
		if errors.Is(f.Err, auth.ErrPlaintext) {
			return "add --allow-plaintext if the network may see the secret, or " + fixOneTLS, f.Err
		}
		return "the login is taken at a bootstrap address and not here: see whether this broker has the same users", f.Err
	case TLS:
		return a.adviseTLS(ctx, f)
	default:
		if a.TLS == nil && a.speaksTLS(ctx, f.Address, f.Err) {
			return fixOneTLS, errWantsTLS
		}
		return fixNotKafka, f.Err
	}
}

func (a asker) adviseTLS(ctx context.Context, f *Finding) (fix string, wrong error) {
	failed, _ := errors.AsType[*tlsconf.Error](f.Err)
	switch failed.Failure {
	case tlsconf.NotTLS, tlsconf.Ended, tlsconf.Timeout:
		if a.speaksPlaintext(ctx, f.Address) {
			return fixOneTLS, errNoTLS
		}
		return fixNotKafka, f.Err
	case tlsconf.WrongName:
		return fixNames, f.Err
	default:
		return failed.Advice, f.Err
	}
}

// adviseConnect says why nobody accepts a connection.
func (a asker) adviseConnect(err error, address string) string {
	host, _, _ := hostport.Parse(address)
	ip, _ := netip.ParseAddr(host) // the zero value is in no class
	late, isNet := errors.AsType[net.Error](err)
	switch {
	case a.onlyThere(address):
		return fixLocalhost
	case errors.Is(err, syscall.ECONNREFUSED):
		return fixRefused
	case ip.IsPrivate():
		return fixPrivate
	case isNet && late.Timeout():
		return fixFiltered
	default:
		return fixAdvertised
	}
}

// onlyThere reports whether an address works on the broker's own machine only, which is
// not this one: the user's addresses lead away from here.
func (a asker) onlyThere(address string) bool {
	return isLocal(address) && !slices.ContainsFunc(a.Addresses, isLocal)
}

func isLocal(address string) bool {
	host, _, _ := hostport.Parse(address)
	return hostport.IsLoopback(host)
}
