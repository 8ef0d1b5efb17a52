package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/doctor"
	"kproxy/internal/speaks"
	"kproxy/proxy"
)

// Cluster is the known state of the cluster.
type Cluster struct {
	ID      string // "": it has not said
	Brokers []Broker

	// NeedsLogin says that the cluster names its brokers only after a login, by one of
	// Mechanisms, if the cluster has named them.
	NeedsLogin bool
	Mechanisms []string

	answered string // the address that these facts come from
	paired   pairing
	errs     map[int32]error // why nodes cannot be reached
}

// How says why a node is dialled at its address, and if it is not reached, the reason.
func (c *Cluster) How(node int32) (How, error) { return c.paired.how[node], c.errs[node] }

// asker asks over a proxy without clients.
type asker struct {
	*Options
	proxy   *proxy.Proxy
	cluster string         // its name in proxy
	met     func(net.Conn) // gets each connection over which a broker is asked first; may be nil
}

// note reports a connection to met.
func (a asker) note(i *proxy.Inquiry) {
	if a.met != nil {
		a.met(i.Conn())
	}
}

// noHost is an address for documentation (RFC 5737).
const noHost = "192.0.2.1"

// OptionsError says that the options cannot work. No request was sent.
type OptionsError struct{ Err error }

func (e *OptionsError) Error() string { return e.Err.Error() }

// Unwrap is the mistakes.
func (e *OptionsError) Unwrap() error { return e.Err }

// ask runs f with a proxy that has these dial rules and no clients.
func (o *Options) ask(paired map[int32]string, f func(a asker) error) error {
	unheard := *o
	unheard.Listen, unheard.Advertise = []string{noHost}, noHost // never bound, and where no broker is
	c := unheard.config(paired, Ports{Base: 1, Size: 1})
	c.Logger = nil // f reports failures
	p, err := proxy.New(c)
	switch {
	case err != nil && paired == nil:
		return &OptionsError{err}
	case err != nil:
		return err
	}
	defer p.Shutdown(context.Background())
	return f(asker{Options: o, proxy: p, cluster: clusterName})
}

// Learn asks the given addresses for the brokers, and locates each one. The error has
// advice for the user.
func (o *Options) Learn(ctx context.Context) (*Cluster, error) {
	var c *Cluster
	err := o.ask(nil, func(a asker) (err error) {
		c, err = a.brokers(ctx)
		return err
	})
	if err != nil || c.NeedsLogin {
		return c, err
	}
	if len(c.Brokers) > 1 {
		o.Say(fmt.Sprintf("there are %d brokers; trying where they are reached from here", len(c.Brokers)))
	}
	return c, o.locate(ctx, c)
}

// brokers asks the addresses in turn, until one names the brokers.
func (a asker) brokers(ctx context.Context) (*Cluster, error) {
	var errs []error
	for _, address := range a.Addresses {
		a.Say("asking " + address + " who the brokers are")
		asking, cancel := context.WithTimeout(ctx, a.Timeout)
		c, err := a.brokersFrom(asking, address)
		cancel()
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		errs = append(errs, fmt.Errorf("%s: %w", address, a.explain(ctx, address, err)))
	}
	return nil, errors.Join(errs...)
}

// brokersFrom asks an address for the brokers, for as long as ctx allows.
func (a asker) brokersFrom(ctx context.Context, address string) (*Cluster, error) {
	i, err := a.proxy.Inquire(ctx, a.cluster, proxy.NoNode, address)
	if err != nil {
		return nil, err
	}
	defer i.Close()
	a.note(i)
	versions, offers := kmsg.NewPtrApiVersionsRequest(), kmsg.NewPtrApiVersionsResponse()
	if err := a.askFirst(ctx, i, versions, offers); err != nil {
		return nil, err
	}
	if speaks.IsController(offers) {
		return nil, &doctor.NotBrokerError{}
	}
	metadata, err := brokersBy(ctx, i)
	if errors.Is(err, proxy.ErrNeedsLogin) {
		return &Cluster{answered: address, NeedsLogin: true, Mechanisms: a.mechanisms(ctx, address)}, nil
	}
	if err != nil {
		return nil, err
	}
	c := &Cluster{answered: address}
	if metadata.ClusterID != nil {
		c.ID = *metadata.ClusterID
	}
	c.Brokers = brokersOf(metadata)
	return c, nil
}

// brokersOf returns the brokers of a response, by id.
func brokersOf(metadata *kmsg.MetadataResponse) []Broker {
	var all []Broker
	for _, b := range metadata.Brokers {
		all = append(all, Broker{Node: b.NodeID, Host: b.Host, Port: b.Port})
	}
	slices.SortFunc(all, func(x, y Broker) int { return int(x.Node) - int(y.Node) })
	return all
}

// mechanisms are those by which the cluster has its clients log in. A broker names them
// in response to an unknown one.
func (a asker) mechanisms(ctx context.Context, address string) []string {
	i, err := a.proxy.Inquire(ctx, a.cluster, proxy.NoNode, address)
	if err != nil {
		return nil
	}
	defer i.Close()
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.Version, req.Mechanism = 1, "KPROXY-ASKS"
	resp := kmsg.NewPtrSASLHandshakeResponse()
	if err := i.Ask(ctx, req, resp); err != nil {
		return nil
	}
	return slices.DeleteFunc(resp.SupportedMechanisms, func(m string) bool { return !mechanismName.MatchString(m) })
}

// mechanismName is the name of a SASL mechanism (RFC 4422, section 3.1). Any other text
// would get into the configuration for the user.
var mechanismName = regexp.MustCompile(`^[A-Z0-9_-]{1,20}$`)
