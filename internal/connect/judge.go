package connect

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"kproxy/internal/doctor"
	"kproxy/internal/files"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/proxy"
)

// maxMissing is the most missing brokers that a report names.
const maxMissing = 100

// report judges the attempts.
func (e *examination) report() *doctor.Report {
	e.user.Via = Far(e.Via.URL)
	r := &doctor.Report{User: e.user, Heard: e.first != nil, Unchecked: e.pending}
	if c := e.first; c != nil {
		r.ClusterID, r.Brokers, r.NeedsLogin, r.Mechanisms = c.ID, max(len(c.Brokers), e.roster.size), c.NeedsLogin, c.Mechanisms
		if r.Untried = r.Brokers - max(len(c.Brokers), len(e.brokers)); r.Untried > 0 {
			r.Unchecked = append(r.Unchecked, fmt.Sprintf("the addresses of %d more brokers: doctor tries those of the first %d, by node id", r.Untried, len(e.brokers)))
		}
	}
	for _, w := range e.boots {
		if w.cluster != nil && !w.cluster.NeedsLogin && !e.first.NeedsLogin && w.cluster.ID != e.first.ID {
			w.err = anotherCluster(w.cluster.ID)
		}
		r.Findings = append(r.Findings, e.finding(w))
	}
	for _, w := range e.brokers {
		f := e.finding(w)
		f.Taken[doctor.Itself] = w.known
		if w.err == nil && !w.known {
			r.Unchecked = append(r.Unchecked, fmt.Sprintf("which node responds at %s: the user may not describe the brokers' configuration, or the broker does not say", foreign.Line(w.address)))
		}
		r.Findings = append(r.Findings, f)
	}
	for _, node := range e.missing[:min(len(e.missing), maxMissing)] {
		r.Findings = append(r.Findings, e.finding(&way{node: node, err: doctor.ErrMissing}))
	}
	if more := len(e.missing) - maxMissing; more > 0 {
		r.Unchecked = append(r.Unchecked, fmt.Sprintf("%d more nodes that partitions have replicas on and the cluster does not list: the first %d have a line each", more, maxMissing))
	}
	if r.NeedsLogin {
		r.Unchecked = append(r.Unchecked,
			"the addresses that the brokers advertise, whether they are reached from here and whether each leads to its own broker: the cluster names its brokers after a login",
			"whether partitions have replicas on brokers that are down")
	}
	return r
}

// finding is the report of one attempt.
func (e *examination) finding(w *way) doctor.Finding {
	host, _, _ := hostport.Parse(w.address)
	f := doctor.Finding{Node: w.node, Address: w.address, Took: w.took, Err: w.err, Failed: doctor.Arrived, Peer: w.peer}
	f.Taken = [doctor.Arrived]bool{
		doctor.Name: net.ParseIP(host) == nil && e.Via.URL == "", doctor.Connect: true,
		doctor.TLS: e.TLS != nil, doctor.Kafka: true, doctor.Login: e.SASL != nil,
	}
	if w.err == nil {
		return f
	}
	c := doctor.Case{User: &e.user, Node: w.node, Address: w.address, Err: w.err, Peer: w.peer, KnownHost: e.knows(w)}
	if w.node >= 0 {
		f.Connect, f.Elsewhere = e.connects(w.node), e.elsewhere(w.node)
		c.Working, c.Layout, c.Listener = e.working(f.Connect+f.Elsewhere), e.layouts[w.node], e.listener()
	}
	f.Verdict, f.Failed, f.Reason, f.Fix = doctor.Judge(c)
	if self, ok := errors.AsType[*doctor.SelfError](w.err); ok && self.Verdict == doctor.SameAddress {
		f.Taken = [doctor.Arrived]bool{} // its address was not tried
	}
	if f.Failed == doctor.Connect {
		f.Resolved = doctor.Resolved(w.err, w.address)
	}
	return f
}

// knows reports whether the machine at an address has accepted a connection at another port.
func (e *examination) knows(w *way) bool {
	ip := doctor.Dialled(w.err, w.address)
	e.mu.Lock()
	defer e.mu.Unlock()
	return ip.IsValid() && e.hosts[ip]
}

// listener is the name of the listener at which clients bootstrap, from a broker's
// configuration; "": no broker could be asked.
func (e *examination) listener() string {
	for _, w := range e.brokers {
		if name := e.layouts[w.node].NameOf(w.address, e.user.Protocol()); name != "" {
			return name
		}
	}
	return ""
}

// connects is the address at which kproxy connect, with the same options, reaches a node that
// has failed; "": it does not.
func (e *examination) connects(node int32) string {
	if e.reached == nil || e.reached.errs[node] != nil {
		return ""
	}
	return e.reached.paired.at[node]
}

// elsewhere is the address at which a node responds that another one advertises, if connect does not
// reach it anyway; "": there is none.
func (e *examination) elsewhere(node int32) string {
	if e.connects(node) != "" {
		return ""
	}
	for _, w := range e.brokers {
		self, ok := errors.AsType[*doctor.SelfError](w.err)
		if !ok || self.Verdict != doctor.AnotherNode || self.Node != node {
			continue
		}
		if !isLoopback(w.address) || slices.ContainsFunc(e.Addresses, isLoopback) {
			return w.address
		}
	}
	return ""
}

func isLoopback(address string) bool {
	host, _, err := hostport.Parse(address)
	return err == nil && hostport.IsLoopback(host)
}

// working is an address at which a node responds, if it can be advertised; "": it cannot.
func (e *examination) working(at string) string {
	host, _, err := hostport.Parse(at)
	if err != nil || host == "" || strings.Contains(host, "%") || e.Via.URL != "" {
		return ""
	}
	return at
}

// Far is the machine that a via leads to, without its user; "" for none.
func Far(via string) string {
	if via == "" {
		return ""
	}
	if strings.HasPrefix(via, "exec:") {
		return "the far side of the command of --via"
	}
	u, err := url.Parse(via)
	if err != nil || u.Host == "" {
		return "the far side of --via"
	}
	return foreign.LineOf(u.Host, 100)
}

// trusted names the authorities in a file of the user's.
func trusted(ctx context.Context, o *Options, u *doctor.User) string {
	if o.TLS == nil || o.TLS.CA == "" {
		return ""
	}
	where := foreign.LineOf(cmp.Or(o.Piped[o.TLS.CA], o.TLS.CA), 100)
	if u.File != "" {
		where = cmp.Or(u.Store, "the client's truststore")
	}
	data, err := files.ReadArgument(ctx, o.TLS.CA, maxFile)
	if err != nil {
		return where
	}
	const most = 3
	var names []string
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			names = append(names, fmt.Sprintf("%q", foreign.LineOf(cert.Subject.String(), 100)))
		}
	}
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return where + ", which has " + strings.Join(names, ", ")
}

// explain adds advice to an error of a bootstrap address.
func (a asker) explain(ctx context.Context, address string, err error) error {
	peer := a.askPort(ctx, address, err)
	u := doctor.User{Addresses: a.Addresses, TLS: a.TLS, SASL: a.SASL, Via: Far(a.Via.URL)}
	u.Trusted = trusted(ctx, a.Options, &u)
	_, _, reason, fix := doctor.Judge(doctor.Case{User: &u, Node: proxy.NoNode, Address: address, Err: err, Peer: peer})
	return fmt.Errorf("%w; %s", &explained{reason, err}, fix.Text)
}

// explained is an error in other words.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }
