package connect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/doctor"
	"kproxy/internal/hostport"
	"kproxy/internal/relay"
	"kproxy/internal/speaks"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// The time limits of kproxy doctor. A person waits for it.
const (
	examineTime = 8500 * time.Millisecond // in all
	dialTime    = 4 * time.Second         // for a connection and its TLS, and for a login
	walkTime    = 5 * time.Second         // for the attempt at one address
	portTime    = 3 * time.Second         // for asking a port that gave no Kafka response
	settleTime  = 300 * time.Millisecond  // for other bootstrap addresses, once one has responded
)

// Examine connects to each of the user's addresses, and then to each advertised address, as
// a client without kproxy would: at the broker's own address, without dial rules. Addresses
// are tried at the same time, each of them once. progress, which may be nil, is called with
// how many addresses are done, of how many, from several goroutines. The error is that of
// options that cannot work.
func (o *Options) Examine(ctx context.Context, u doctor.User, progress func(done, all int)) (*doctor.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	quick := *o
	quick.Timeout = dialTime
	e := &examination{Options: &quick, user: u, progress: progress, hosts: map[netip.Addr]bool{}}
	e.user.Trusted = trusted(ctx, &quick, &u)
	err := quick.ask(nil, func(a asker) error {
		a.met = e.metAt
		e.bootstraps(ctx, a)
		return e.nodes(ctx, a)
	})
	if err != nil {
		return nil, err
	}
	r := e.report()
	if err := relay.Probe(ctx); err != nil {
		r.Copies = err.Error()
	}
	return r, nil
}

// examination is one run of Examine.
type examination struct {
	*Options
	user     doctor.User
	progress func(done, all int)

	mu    sync.Mutex // guards the following
	hosts map[netip.Addr]bool
	done  int
	all   int

	first   *Cluster // from the first address that responded; nil: none has
	roster  roster   // of all brokers of first, which has only those that are tried
	boots   []*way
	brokers []*way
	missing []int32
	reached *Cluster // as kproxy connect finds it, if nodes have failed
	layouts map[int32]doctor.Layout
	pending []string // the checks that were not possible
}

// way is the attempt at one address.
type way struct {
	node    int32
	address string
	cluster *Cluster // that a bootstrap address has returned; nil: none has
	known   bool     // the node has identified itself
	took    time.Duration
	err     error
	peer    speaks.Peer
	settled chan struct{} // closed at the end
}

// metAt notes a machine that has accepted a connection.
func (e *examination) metAt(conn net.Conn) {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || e.Via.URL != "" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hosts[tcp.AddrPort().Addr().Unmap()] = true
}

// count reports addresses to be tried, or done.
func (e *examination) count(more, done int) {
	e.mu.Lock()
	e.all, e.done = e.all+more, e.done+done
	all, now := e.all, e.done
	e.mu.Unlock()
	if e.progress != nil {
		e.progress(now, all)
	}
}

// walk measures the time of an attempt, and examines the port if it gave no response.
func (e *examination) walk(ctx context.Context, a asker, w *way, do func(ctx context.Context) error) {
	defer close(w.settled)
	defer e.count(0, 1)
	start := time.Now()
	walking, cancel := context.WithTimeout(ctx, walkTime)
	defer cancel()
	w.err = do(walking)
	if w.err != nil {
		w.peer = a.askPort(ctx, w.address, w.err)
	}
	w.took = time.Since(start)
}

// bootstraps asks each of the user's addresses for the brokers. It returns when all have
// been tried, or some time after the first response; the other attempts go on.
func (e *examination) bootstraps(ctx context.Context, a asker) {
	e.count(len(e.Addresses), 0)
	responded := make(chan struct{}, len(e.Addresses))
	for _, address := range e.Addresses {
		w := &way{node: proxy.NoNode, address: address, settled: make(chan struct{})}
		e.boots = append(e.boots, w)
		go e.walk(ctx, a, w, func(ctx context.Context) (err error) { // ends by ctx; report waits
			w.cluster, err = a.brokersFrom(ctx, address)
			if err == nil {
				responded <- struct{}{}
			}
			return err
		})
	}
	all := make(chan struct{})
	go func() { // ends with the attempts
		defer close(all)
		for _, w := range e.boots {
			<-w.settled
		}
	}()
	select {
	case <-all:
	case <-responded:
		select {
		case <-all:
		case <-time.After(settleTime):
		}
	}
	for _, w := range e.boots {
		select {
		case <-w.settled:
			if e.first == nil && w.cluster != nil {
				e.first = w.cluster
			}
		default:
		}
	}
}

// nodes tries each advertised address, and at the same time finds the missing brokers and
// the nodes at the user's addresses.
func (e *examination) nodes(ctx context.Context, a asker) error {
	defer func() { // a proxy must not end before the attempts over it
		for _, w := range e.boots {
			<-w.settled
		}
	}()
	if e.first == nil || e.first.NeedsLogin {
		return nil
	}
	e.limit()
	if n := len(e.first.Brokers); n > 1 {
		e.Say(fmt.Sprintf("trying the addresses that %d brokers advertise", n))
	}
	e.count(len(e.first.Brokers), 0)
	var witnesses []witness
	var trying sync.WaitGroup
	next := 0
	for _, w := range e.brokers {
		if w.err != nil {
			continue
		}
		b := e.first.Brokers[next]
		next++
		trying.Go(func() {
			e.walk(ctx, a, w, func(ctx context.Context) error { return e.asAdvertised(ctx, a, w, b) })
		})
	}
	trying.Go(func() { e.missing = e.replicas(ctx, a) })
	trying.Go(func() { witnesses, e.layouts = a.witnesses(ctx, e.first, e.responding()) })
	trying.Wait()
	own := map[int32]error{}
	failed := false
	for _, w := range e.brokers {
		own[w.node] = w.err
		failed = failed || w.err != nil
	}
	if !failed {
		return nil
	}
	reached := *e.first
	err := e.settle(ctx, &reached, map[int32]How{}, own, witnesses)
	e.reached = &reached
	return err
}

// responding are the user's addresses that have described the cluster by now. Others are not
// dialled again.
func (e *examination) responding() []string {
	var all []string
	for _, w := range e.boots {
		select {
		case <-w.settled:
			if w.cluster != nil {
				all = append(all, w.address)
			}
		default:
		}
	}
	return all
}

// asAdvertised tries to reach a broker at its advertised address. A dial rule leads
// there, so that any address is dialled, a loopback address too.
func (e *examination) asAdvertised(ctx context.Context, a asker, w *way, b Broker) error {
	host, _, err := hostport.Parse(w.address)
	if err != nil || hostport.IsWildcard(host) {
		return doctor.ErrNoAddress
	}
	if err := e.roster.objection(b); err != nil {
		return err
	}
	o := *a.Options
	o.Nodes, o.Dial = nil, nil
	return o.ask(map[int32]string{b.Node: w.address}, func(own asker) (err error) {
		own.met = e.metAt
		w.known, err = own.try(ctx, e.first, b)
		return err
	})
}

// askPort finds the protocol of a port that gave no Kafka response.
func (a asker) askPort(ctx context.Context, address string, err error) (peer speaks.Peer) {
	if doctor.IsAnswered(err) {
		return peer
	}
	if other, ok := errors.AsType[*proxy.NotKafkaError](err); ok {
		peer = speaks.Classify(other.Prefix)
		if peer.Secure = peer.Secure || a.TLS != nil; peer.Kind.IsService() && peer.Kind != speaks.Unknown {
			return peer
		}
	}
	if !doctor.NeedsAsking(err) || ctx.Err() != nil {
		return peer
	}
	ctx, cancel := context.WithTimeout(ctx, portTime)
	defer cancel()
	o := *a.Options
	o.TLS, o.SASL = nil, nil // no secret is sent
	host, _, _ := hostport.Parse(address)
	q := speaks.Question{
		ServerName: serverName(a.TLS, host),
		AfterTLS:   a.TLS != nil && doctor.FailedStep(err) == doctor.TLS,
		Closed:     doctor.HasEnded(err),
	}
	_ = o.ask(nil, func(plain asker) error { // a port that cannot be asked stays unknown
		q.Dial = func(ctx context.Context) (net.Conn, error) {
			i, err := plain.proxy.Inquire(ctx, plain.cluster, proxy.NoNode, address)
			if err != nil {
				return nil, err
			}
			return i.Conn(), nil
		}
		if p := speaks.Ask(ctx, q); p.Kind != speaks.Unreachable {
			peer = p
		}
		return nil
	})
	return peer
}

func serverName(secure *config.UpstreamTLS, host string) string {
	switch {
	case secure != nil && secure.ServerName != "":
		return secure.ServerName
	case net.ParseIP(host) != nil:
		return ""
	default:
		return hostport.Canonical(host)
	}
}

// replicas are the nodes that partitions name and the cluster does not list.
func (e *examination) replicas(ctx context.Context, a asker) []int32 {
	ctx, cancel := context.WithTimeout(ctx, walkTime)
	defer cancel()
	named, err := a.replicasAt(ctx, e.first.answered)
	// Behind a balancer's address another broker may respond now, or one that is down.
	for _, b := range e.first.Brokers {
		if err == nil || ctx.Err() != nil {
			break
		}
		var again error
		if named, again = a.replicasAt(ctx, addressOf(b)); again == nil {
			err = nil
		}
	}
	if err != nil {
		e.pending = append(e.pending, "whether partitions have replicas on brokers that are down: the list of all partitions could not be read ("+doctor.Cause(err)+")")
		return nil
	}
	return slices.DeleteFunc(named, func(n int32) bool { return n < 0 || e.roster.listed[n] > 0 })
}

func (a asker) replicasAt(ctx context.Context, address string) ([]int32, error) {
	i, err := a.proxy.Inquire(ctx, a.cluster, proxy.NoNode, address)
	if err != nil {
		return nil, err
	}
	defer i.Close()
	req, resp := kmsg.NewPtrMetadataRequest(), kmsg.NewPtrMetadataResponse()
	req.Version = 5 // Kafka 1.0; no response of it has a flexible header before v9
	req.Topics = nil
	if err := i.Ask(ctx, req, resp); err != nil {
		return nil, err
	}
	all := map[int32]bool{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			for _, nodes := range [][]int32{p.Replicas, p.ISR, p.OfflineReplicas} {
				for _, node := range nodes {
					all[node] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(all)), nil
}
