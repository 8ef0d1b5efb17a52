package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/auth"
	"kproxy/internal/endpoints"
	"kproxy/internal/logkey"
	"kproxy/internal/upstream"
	"kproxy/internal/wait"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

const (
	askInterval = 10 * time.Second // between attempts to ask a cluster that has not answered
	askTimeout  = 10 * time.Second // for one attempt
	// refusedPause is between attempts whose login is refused: a server may count refusals, and lock the user.
	refusedPause = time.Minute
)

// asker spaces the attempts of Ask: one runs at a time, and the next one starts at least
// askInterval after its end.
type asker struct {
	turn chan struct{} // holds an element while no attempt runs; the goroutine that takes it owns the following
	last time.Time     // end of the last attempt
	err  error         // its result
	way  *Way          // by which it was made
}

func newAsker() asker {
	a := asker{turn: make(chan struct{}, 1)}
	a.turn <- struct{}{}
	return a
}

// Ask sends ApiVersions to the cluster, and Metadata while the brokers are unknown. Less
// than askInterval after the last attempt, or refusedPause if that login was refused, it returns the result of that
// one, unless a reload has changed the way to the brokers.
func (c *Cluster) Ask(ctx context.Context) error {
	a := &c.asker
	select {
	case <-a.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { a.turn <- struct{}{} }()
	pause := askInterval
	if IsRefusedLogin(a.err) && c.Status().LastAnswer.Before(a.last) { // and no client has had more luck since
		pause = refusedPause
	}
	if !a.last.IsZero() && time.Since(a.last) < pause && a.way == c.Way() {
		return a.err
	}
	a.way = c.Way()
	a.err = c.askOnce(ctx)
	a.last = time.Now()
	return a.err
}

// AskWhileDown asks the cluster for its brokers until a response names them: one to kproxy or
// one to a client. Later it asks while the last contact was a failure, so that the state of a
// cluster without clients is that of its brokers. It ends with ctx. It sends nothing on a client's
// connection: before a client has logged in, a broker treats a second ApiVersions as an attack.
func (c *Cluster) AskWhileDown(ctx context.Context) {
	attempt, down := 1, false
	var last error
	for ; ctx.Err() == nil; wait.Sleep(ctx, askInterval) {
		switch known := c.IsKnown(); {
		case known && c.Status().Up:
			if down {
				c.log.Info("the cluster responds again")
			}
			down = false
		default:
			err := c.Ask(ctx)
			switch {
			case err == nil || ctx.Err() != nil:
			case !known && err != last: //nolint:errorlint // else it is the result of the attempt before
				c.logUnanswered(err, attempt)
				attempt++
			case known && !down:
				c.logOf(err, Advice(err)).Warn("the cluster does not respond; asking on")
				down = true
			}
			last = err
		}
	}
}

// closedWithoutResponse is the fix for a port that accepts a connection and closes it at the
// first request. A kproxy does so if its bootstrap address leads back to this one.
const closedWithoutResponse = "the port accepts connections and closes them without a response: see that a broker is there and not a proxy that leads back here, " +
	"and that it wants neither TLS nor a PROXY protocol header that the cluster's keys do not have"

// logOf returns the log with an error, and its fix if there is one.
func (c *Cluster) logOf(err error, fix string) *slog.Logger {
	log := c.log.With(slog.Any(logkey.Error, err))
	if fix != "" {
		log = log.With(slog.String(logkey.Fix, fix))
	}
	return log
}

func (c *Cluster) logUnanswered(err error, attempt int) {
	fix := Advice(err)
	login, isLogin := errors.AsType[*auth.LoginError](err)
	switch {
	case isLogin && !login.Unanswered:
		fix = cmp.Or(fix, login.Fix)
	case errors.Is(err, io.EOF) && !errors.Is(err, ErrNeedsLogin):
		fix = cmp.Or(fix, closedWithoutResponse)
	}
	log := c.logOf(err, fix).With(slog.Int(logkey.Attempt, attempt))
	_, isLoop := errors.AsType[*upstream.LoopError](err)
	switch {
	case isLoop:
		log.Error("the bootstrap addresses lead back to this proxy; its clients are refused",
			slog.String(logkey.Fix, "point clusters."+c.name+".bootstrap at the brokers themselves"))
	case errors.Is(err, ErrNeedsLogin) && attempt > 1:
		log.Debug("brokers are not known yet")
	case errors.Is(err, ErrNeedsLogin):
		log.Info("brokers are not known yet")
	default:
		log.Warn("no broker has said who the brokers are; trying on")
	}
}

// askOnce sends ApiVersions v0 to any broker, and then Metadata while the brokers are
// unknown.
func (c *Cluster) askOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	to, err := c.DialAny(ctx, Client{})
	if err != nil {
		return err
	}
	defer to.Close()
	defer wait.Bound(ctx, to.Conn)()
	versions := kmsg.NewPtrApiVersionsRequest()
	if err := c.question(to, versions, versions.ResponseKind()); err != nil {
		err = fmt.Errorf("ask for API versions: %w", err)
		if !errors.Is(ctx.Err(), context.Canceled) { // the proxy stops
			c.contact.failed(err)
		}
		return err
	}
	c.contact.answered()
	if c.IsKnown() {
		return nil
	}
	if err = c.askMetadata(ctx, to); errors.Is(err, errOutvoted) {
		err = nil // the cluster has responded
	}
	return err
}

// IsKnown reports whether any Metadata response has named the brokers.
func (c *Cluster) IsKnown() bool { return isClosed(c.answered) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// named is a response to Metadata of kproxy's own.
type named struct {
	response *kmsg.MetadataResponse
	brokers  endpoints.Response
	number   int64 // of the question
	way      *Way
}

// askMetadata sends Metadata without topics, and merges the response into the map. The error is a StrangerError if the
// response is another cluster's, which the map does not follow. The end of ctx ends the wait for that decision.
func (c *Cluster) askMetadata(ctx context.Context, to Link) error {
	n, err := c.metadata(to)
	if err != nil {
		return err
	}
	return c.follow(ctx, to.Target, n)
}

// follow merges a response into the map if it is of the map's cluster, or if the map follows the other one.
func (c *Cluster) follow(ctx context.Context, from upstream.Target, n named) error {
	if n.way == c.Way() {
		if err := c.admit(ctx, from, n.brokers.ClusterID); err != nil {
			return err
		}
	}
	return c.learnNamed(n)
}

// metadataOf is metadata over a connection of its own.
func (c *Cluster) metadataOf(ctx context.Context, target upstream.Target) (named, error) {
	to, err := c.dialTarget(ctx, target, Client{})
	if err != nil {
		return named{}, err
	}
	defer to.Close()
	defer wait.Bound(ctx, to.Conn)()
	return c.metadata(to)
}

// metadata sends Metadata without topics.
func (c *Cluster) metadata(to Link) (named, error) {
	// From version 1 an empty list of topics means none. In version 0 it means all.
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version = 4
	metadata.Topics = []kmsg.MetadataRequestTopic{}
	n := named{response: kmsg.NewPtrMetadataResponse(), number: c.questions.Add(1), way: to.Way}
	if err := c.question(to, metadata, n.response); err != nil {
		if errors.Is(err, io.EOF) && c.mayNeedLogin() {
			c.mover.needsLogin(true)
			return n, ErrNeedsLogin
		}
		return n, fmt.Errorf("ask for metadata: %w", err)
	}
	var brokers rewrite.Brokers
	if n.response.ClusterID != nil {
		brokers.ClusterID = *n.response.ClusterID
	}
	for _, b := range n.response.Brokers {
		brokers.List = append(brokers.List, rewrite.Broker{Node: b.NodeID, Host: b.Host, Port: b.Port})
	}
	if len(brokers.List) == 0 {
		return n, errors.New("the cluster names no brokers yet")
	}
	n.brokers = responseOf(brokers)
	n.brokers.From = to.Address
	return n, nil
}

// learnNamed merges a response into the map. The error is errOutvoted if the map does not follow it.
func (c *Cluster) learnNamed(n named) error {
	if n.way != c.Way() { // a reload has come, which may lead to other brokers
		return nil
	}
	c.mover.needsLogin(false)
	if isStale := c.teachAsked(n.brokers, n.number); !isStale && c.differs(n.brokers) {
		return errOutvoted
	}
	return nil
}

// errOutvoted means that the broker's response contradicts those of more brokers, which the
// map follows.
var errOutvoted = errors.New("the broker's response differs from those of others")

// mayNeedLogin reports whether a connection that ends without a response to Metadata can
// mean that the cluster requires a login. If kproxy has a login of its own, or if the cluster
// has answered Metadata before, the broker stops instead.
func (c *Cluster) mayNeedLogin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Way().Method() == nil && !c.confirmed
}

// question sends one request and reads its response.
func (c *Cluster) question(to Link, req kmsg.Request, into kmsg.Response) error {
	payload, err := c.exchange(to, req)
	if err != nil {
		return err
	}
	into.SetVersion(req.GetVersion())
	if into.Key() == kmsg.ApiVersions.Int16() { // an error may have the layout of v0
		r := wire.NewReader(payload)
		if code := r.Int16(); code != 0 {
			return kerr.ErrorForCode(code)
		}
	}
	return rewrite.Decode(into, payload)
}

// maxOwnResponse bounds the response to a request of kproxy's own, in bytes. Metadata
// without topics of a thousand brokers takes a tenth of it.
const maxOwnResponse = 1 << 20

// arrived reads the bytes behind a prefix that is no Kafka response, as far as they arrive at
// once. They show which service has sent them.
func arrived(conn net.Conn) []byte {
	const most, patience = 504, 100 * time.Millisecond
	rest := make([]byte, most)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	n, _ := io.ReadFull(conn, rest)
	return rest[:n]
}

// exchange sends one request and reads the payload of its response, behind the correlation
// id. The error is a *upstream.LoopError if the request came back to this proxy.
func (c *Cluster) exchange(to Link, req kmsg.Request) (payload []byte, err error) {
	probe := c.probes.begin(to.Address)
	payload, err = c.roundTrip(to, req, probe.id)
	return payload, c.probes.end(probe, err)
}

func (c *Cluster) roundTrip(to Link, req kmsg.Request, clientID string) (payload []byte, err error) {
	const correlationID = 1
	conn := to.Conn
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))
	if _, err := conn.Write(formatter.AppendRequest(nil, req, correlationID)); err != nil {
		return nil, err
	}
	var prefix [wire.ResponsePrefixLen]byte
	if n, err := io.ReadFull(conn, prefix[:]); err != nil {
		if n > 0 && to.Way.tls == nil && errors.Is(err, io.ErrUnexpectedEOF) { // an alert of TLS has seven bytes
			return nil, &NotKafkaError{Prefix: prefix[:n]}
		}
		return nil, to.Way.TLSReadError(err)
	}
	size := wire.Size(prefix[:])
	switch {
	case size < wire.MinResponseSize || wire.CorrelationID(prefix[:]) != correlationID:
		return nil, &NotKafkaError{Prefix: append(prefix[:], arrived(conn)...)}
	case size > maxOwnResponse:
		return nil, fmt.Errorf("a response of %d bytes to %s, more than %d", size, kmsg.NameForKey(req.Key()), maxOwnResponse)
	}
	payload = make([]byte, size-wire.MinResponseSize)
	_, err = io.ReadFull(conn, payload)
	return payload, err
}
