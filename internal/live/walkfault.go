package live

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"kproxy/internal/doctor"
	"kproxy/internal/foreign"
	"kproxy/proxy"
)

// bootstrapFails judges a bootstrap endpoint that is not reached.
func (l *walk) bootstrapFails(ctx context.Context, a *attempt) Level {
	if !l.Served && doctor.FailedStep(a.err) == doctor.Connect && !l.isServed(ctx) {
		says := fmt.Sprintf("no kproxy listens at %s yet: the way of clients to %s was not tried", l.of.Bind, l.of.Advertised)
		if ip := doctor.Dialled(a.err, l.of.Advertised); ip.IsValid() && !l.isHere(ip.AsSlice()) {
			says += fmt.Sprintf("; %s is another machine's, which has to lead here", ip)
		}
		l.note(l.of.Key, NotServed, says, "run the check again once kproxy serves it")
		return Note
	}
	f := l.downstreamFault(l.of.BootstrapKey, proxy.NoNode, l.of.Advertised, a)
	l.add(f)
	return f.Level
}

// user is the client of the listener, for reasons.
func (l *walk) user() *doctor.User {
	o := l.options()
	u := &doctor.User{Addresses: o.Addresses, TLS: o.TLS, SASL: o.SASL}
	if l.client != nil && o.TLS != nil {
		u.Trusted = "that of " + l.client.File
	}
	return u
}

// downstreamFault is the fault of an attempt at an advertised address: its bootstrap endpoint, or
// that of a node. It is a note if the check itself, and no client, is refused.
func (l *walk) downstreamFault(key string, node int32, address string, a *attempt) Finding {
	// The verdicts of nodes are about brokers, and this address is the listener's.
	v, step, reason, _ := doctor.Judge(doctor.Case{User: l.user(), Node: proxy.NoNode, Address: address, Err: a.err, Peer: a.peer})
	f := Finding{Level: Fault, Key: key, Kind: Kind(v), Address: address, Says: address + ": " + reason}
	if node != proxy.NoNode {
		f.Node = &node
		f.Says = fmt.Sprintf("node %d, ", node) + f.Says
	}
	whose := "the client"
	if l.client != nil {
		whose = foreign.LineOf(l.client.File, 100)
	}
	switch v { //nolint:exhaustive // the others follow
	case doctor.Untrusted, doctor.Expired, doctor.WrongName, doctor.TLSVersion, doctor.TLSFailed, doctor.TLSName:
		f.Key, f.Fix = l.of.Key+".tls", l.tlsFix(v, whose)
		if v == doctor.WrongName || v == doctor.Expired {
			f.Key += ".certs"
		}
		return f
	case doctor.WantsCert, doctor.CertRefused:
		f.Key, f.Fix = l.of.Key+".tls.client_ca", "name the configuration of a client with a certificate that this listener accepts"
		if l.client == nil {
			f.Level, f.Kind, f.Says = Note, NotChecked, address+" wants a client's certificate: the addresses that clients hear, and each node's endpoint, were not tried"
		}
		return f
	case doctor.NoTLS, doctor.WantsTLS:
		f.Key, f.Fix = l.of.Key+".tls", l.protocolFix(v == doctor.WantsTLS, whose)
		return f
	case doctor.Mechanism, doctor.Password, doctor.NoLogin, doctor.Plaintext, doctor.LoginFailed, doctor.LoginWanted:
		f.Key, f.Fix = l.loginFix(v, whose)
		return f
	case doctor.AnotherNode, doctor.Balancer:
		f.Fix = "lead each node's advertised address to its own bind address: correct the port mapping or the balancer; or " + l.words.orElse
		return f
	case doctor.Stranger:
		e := l.elsewhere(key, address, reason)
		e.Node = f.Node
		return e
	}
	f.unready = step == doctor.Connect && l.Served && !l.isRunning
	isMet := step == doctor.Kafka || errors.Is(a.err, syscall.ECONNRESET) // a process accepts, and ends the connection
	f.Fix = l.endpointFix(node, isMet)
	if isMet && l.of.Refuses {
		f.Level, f.Kind = Note, NotChecked
		f.Says += "; the listener may refuse connections from here (allow, deny, proxy_protocol, limits)"
		f.Fix = "run the check from a machine that may connect, and while few clients do"
	}
	if isMet && l.follows(node) {
		f.Level, f.Kind = Note, NotChecked
		f.Says += "; the cluster's own faults may be the cause"
		f.Fix = "correct these first"
	}
	return f
}

// follows reports whether a fault of the cluster explains an endpoint that closes connections:
// kproxy does so if it does not reach the broker.
func (l *walk) follows(node int32) bool {
	return l.cluster.faulted[node] || l.cluster.faulted[proxy.NoNode]
}

// endpointFix is the advice on an endpoint at which an attempt fails. isMet reports whether a
// process there accepts connections.
func (l *walk) endpointFix(node int32, isMet bool) string {
	e, isKnown := l.of.Endpoints[node]
	bind := l.of.Bind
	if isKnown {
		bind = e.Bind
	}
	fix := "lead it to " + bind + " on " + l.words.machine + ", where kproxy listens: correct the DNS, the port mapping, the balancer or the firewall"
	if isMet && isKnown && e.Dialled != "" {
		fix += "; or, if it leads there, kproxy does not reach the broker at " + e.Dialled + ": see its log"
	}
	return fix
}

// protocolFix is the advice on an endpoint that speaks TLS and should not, or the other way round.
func (l *walk) protocolFix(speaksTLS bool, whose string) string {
	switch {
	case l.client == nil && speaksTLS:
		return "the listener has no TLS: if a balancer before kproxy has, name the configuration of a client; otherwise another server is there"
	case l.client == nil:
		return "the listener has TLS: another server is there, or a balancer that takes TLS away; correct the DNS, the port mapping or the balancer"
	case speaksTLS:
		return whose + " speaks no TLS and the endpoint does: give the client a security.protocol with it; or another server is there"
	default:
		return whose + " speaks TLS and the endpoint does not: give the listener tls, or the client a security.protocol without it; or another server is there"
	}
}

// tlsFix is the advice on a certificate of the listener.
func (l *walk) tlsFix(v doctor.Verdict, whose string) string {
	switch v {
	case doctor.Untrusted:
		return "give " + whose + " the authority that issued the listener's certificate, and the listener the whole chain"
	case doctor.Expired:
		return "renew the certificate, or set the clock here"
	case doctor.WrongName:
		return "have a certificate issued with this name (subjectAltName), or advertise a name that it has"
	default:
		return "see kproxy's log, which has the reason, and min_version"
	}
}

// loginFix is the key and the advice for a client's login.
func (l *walk) loginFix(v doctor.Verdict, whose string) (key, fix string) {
	key = l.of.Key
	if l.of.Login {
		key += ".login"
	}
	switch v {
	case doctor.Mechanism:
		return key, "set sasl.mechanism in " + whose + " to one that is offered"
	case doctor.NoLogin:
		return key, "set security.protocol in " + whose + " without SASL: the port takes no login"
	default:
		return key, "see whether the login in " + whose + " is right, and kproxy's log"
	}
}
