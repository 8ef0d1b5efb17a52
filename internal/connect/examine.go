package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"kproxy/internal/auth"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/tlsconf"
	"kproxy/internal/upstream"
	"kproxy/internal/via"
	"kproxy/proxy"
)

// Step is a step of a client's way to a broker.
type Step int

// The steps, in the order of the way.
const (
	Name    Step = iota // the name has addresses
	Connect             // a connection is accepted there
	TLS                 // the certificate is good
	Kafka               // what answers is Kafka
	Login               // the login is taken
	Itself              // it is the node of this cluster that it should be
	Arrived             // no step is left
)

var stepWords = [...]string{"name", "connect", "tls", "kafka", "login", "itself", "arrived"}

func (s Step) String() string { return stepWords[s] }

// Finding is how one address does for a client on this machine.
type Finding struct {
	Node    int32 // proxy.NoNode: it is one of the user's, for bootstrap
	Address string
	Took    time.Duration // the whole way, or as far as it went
	Err     error         // why it failed; nil: it did not
	Fix     string        // what to do then
	taken   [Arrived]bool // the steps that there are on this way
}

// Failed is the step that failed; Arrived: none.
func (f *Finding) Failed() Step { return failedStep(f.Err) }

// Takes reports whether a step is one of this way: there is no name to look up of an IP
// address, no TLS where none was asked for, and not every broker says who it is.
func (f *Finding) Takes(s Step) bool { return f.taken[s] }

// Reason is Err without what the finding has already.
func (f *Finding) Reason() string {
	if dns, ok := errors.AsType[*net.DNSError](f.Err); ok {
		return dns.Err
	}
	if op, ok := errors.AsType[*net.OpError](f.Err); ok && op.Op == "dial" {
		return op.Err.Error()
	}
	return f.Err.Error()
}

// Examination is what a client on this machine would meet.
type Examination struct {
	Cluster  *Cluster // nil: no address has told of it
	Findings []Finding
	reached  *Cluster // what kproxy connect would make of it, if something failed
}

// Examine walks a client's way to each of the user's addresses, and then to each that the
// cluster advertises, as a client without kproxy would: at the broker's own address,
// whatever dial rules could do. Addresses are tried at the same time. The error is that of
// options that cannot work.
func (o *Options) Examine(ctx context.Context) (*Examination, error) {
	e := &Examination{}
	err := o.ask(nil, func(a asker) error {
		e.Cluster, e.Findings = a.bootstraps(ctx)
		if e.Cluster == nil {
			return nil
		}
		if n := len(e.Cluster.Brokers); n > 1 {
			o.Say(fmt.Sprintf("trying where %d brokers say that they are", n))
		}
		nodes := make([]Finding, len(e.Cluster.Brokers))
		var trying sync.WaitGroup
		for i, b := range e.Cluster.Brokers {
			trying.Go(func() { nodes[i] = a.asAdvertised(ctx, e.Cluster, b) })
		}
		trying.Wait()
		e.Findings = append(e.Findings, nodes...)
		return nil
	})
	if err != nil || e.Cluster == nil || len(e.Failed()) == 0 {
		return e, err
	}
	reached := *e.Cluster
	o.Say("looking whether kproxy connect would reach what a client does not")
	if err := o.locate(ctx, &reached); err != nil {
		return e, err
	}
	e.reached = &reached
	return e, nil
}

// Reached is where kproxy connect, given the same addresses, reaches a node that has
// failed; "": it does not.
func (e *Examination) Reached(node int32) string {
	if e.reached == nil || e.reached.errs[node] != nil {
		return ""
	}
	return e.reached.paired.at[node]
}

// Sound reports whether each address works, and all of them were heard of.
func (e *Examination) Sound() bool {
	return e.Cluster != nil && !e.Cluster.NeedsLogin && len(e.Failed()) == 0
}

// Failed are the findings that failed.
func (e *Examination) Failed() []*Finding {
	var all []*Finding
	for i := range e.Findings {
		if f := &e.Findings[i]; f.Err != nil {
			all = append(all, f)
		}
	}
	return all
}

// bootstraps asks each of the user's addresses who the brokers are. The cluster is as the
// first one has it that answers.
func (a asker) bootstraps(ctx context.Context) (*Cluster, []Finding) {
	clusters := make([]*Cluster, len(a.Addresses))
	findings := make([]Finding, len(a.Addresses))
	var asking sync.WaitGroup
	for i, address := range a.Addresses {
		asking.Go(func() {
			findings[i] = a.find(proxy.NoNode, address, func() (err error) {
				clusters[i], err = a.brokersFrom(ctx, address)
				return err
			})
			if f := &findings[i]; f.Err != nil {
				f.Fix, f.Err = a.advise(ctx, address, f.Err)
			}
		})
	}
	asking.Wait()
	var first *Cluster
	for i, c := range clusters {
		switch {
		case c == nil:
		case first == nil:
			first = c
		case c.ID != first.ID:
			f := &findings[i]
			f.Err = anotherCluster(c.ID)
			f.Fix = "leave it out: the addresses that a client bootstraps from have to be of one cluster"
		}
	}
	return first, findings
}

// asAdvertised walks the way to a broker at the address that it advertises. To have it be
// dialled there wherever it leads, a loopback address too, it is what a rule says.
func (a asker) asAdvertised(ctx context.Context, c *Cluster, b Broker) Finding {
	o := *a.Options
	o.Nodes, o.Dial = nil, nil
	var known bool
	f := a.find(b.Node, addressOf(b), func() error {
		if _, _, err := hostport.Parse(addressOf(b)); err != nil || hostport.IsWildcard(b.Host) {
			return errNoAddress
		}
		for _, other := range c.Brokers {
			if other.Node != b.Node && hostport.CanonicalAddress(addressOf(other)) == hostport.CanonicalAddress(addressOf(b)) {
				return &notItselfError{fmt.Sprintf("node %d advertises the same address", other.Node)}
			}
		}
		return o.ask(map[int32]string{b.Node: addressOf(b)}, func(a asker) (err error) {
			known, err = a.try(ctx, c, b)
			return err
		})
	})
	f.taken[Itself] = known
	if f.Err != nil {
		f.Fix, f.Err = a.adviseNode(ctx, &f)
	}
	return f
}

// find takes the time of a way.
func (a asker) find(node int32, address string, walk func() error) Finding {
	start := time.Now()
	err := walk()
	f := Finding{Node: node, Address: address, Took: time.Since(start), Err: err}
	host, _, _ := hostport.Parse(address)
	f.taken = [Arrived]bool{
		Name: net.ParseIP(host) == nil && a.Via.URL == "", Connect: true,
		TLS: a.TLS != nil, Kafka: true, Login: a.SASL != nil,
	}
	return f
}

// errNoAddress is of a broker that advertises what no client can connect to.
var errNoAddress = errors.New("it advertises what is not an address that a client can connect to")

// notItselfError says that somebody else is at an address than who should be.
type notItselfError struct{ who string }

func (e *notItselfError) Error() string { return e.who }

func anotherCluster(id string) error {
	return &notItselfError{fmt.Sprintf("another cluster answers there: \"%s\"", foreign.Line(id))}
}

// failedStep is the step at which a way ended. What cannot be told apart from an answer
// that did not come is one that is not Kafka's.
func failedStep(err error) Step {
	_, isPort := errors.AsType[*portError](err)
	_, notItself := errors.AsType[*notItselfError](err)
	_, isLogin := errors.AsType[*auth.LoginError](err)
	_, isTLS := errors.AsType[*tlsconf.Error](err)
	_, isDNS := errors.AsType[*net.DNSError](err)
	_, isVia := errors.AsType[*via.Error](err)
	_, isRefused := errors.AsType[*upstream.RefusedError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	switch {
	case err == nil:
		return Arrived
	case notItself:
		return Itself
	case isLogin, errors.Is(err, auth.ErrPlaintext):
		return Login
	case isTLS, isPort:
		return TLS
	case isDNS, errors.Is(err, errNoAddress):
		return Name
	case isOp && op.Op == "dial", isVia, isRefused:
		return Connect
	default:
		return Kafka
	}
}
