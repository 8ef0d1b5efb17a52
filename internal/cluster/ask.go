package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/logkey"
	"kproxy/internal/upstream"
	"kproxy/internal/wait"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

const (
	askInterval = 10 * time.Second // between questions to a cluster that has not answered
	askTimeout  = 10 * time.Second // for one question
)

// asker keeps the proxy's own questions to a cluster apart, in time and from
// each other.
type asker struct {
	turn chan struct{} // holds an element while no question runs; the goroutine that takes it owns the following
	last time.Time     // when the last question ended
	err  error         // how
}

func newAsker() asker {
	a := asker{turn: make(chan struct{}, 1)}
	a.turn <- struct{}{}
	return a
}

// Ask asks the cluster whether it answers, or, less than askInterval after the last
// question, says how that one went.
func (c *Cluster) Ask(ctx context.Context) error {
	a := &c.asker
	select {
	case <-a.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { a.turn <- struct{}{} }()
	if !a.last.IsZero() && time.Since(a.last) < askInterval {
		return a.err
	}
	a.err = c.askOnce(ctx)
	a.last = time.Now()
	return a.err
}

// AskUntilAnswered asks the cluster who its brokers are, until it says so or a
// client's answer has. It sends nothing on a client's connection: before a
// client has logged in, a broker takes a second ApiVersions for an attack.
func (c *Cluster) AskUntilAnswered(ctx context.Context) {
	for attempt := 1; ; attempt++ {
		err := c.Ask(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		c.logUnanswered(err, attempt)
		wait.Sleep(ctx, askInterval)
		if ctx.Err() != nil || c.isTaught() {
			return
		}
	}
}

// closedWithoutAnswer is what is known of a port that takes a connection and closes it
// at the first request. Another kproxy does so whose bootstrap leads back to this one.
const closedWithoutAnswer = "the port takes connections and closes them without an answer: see that a broker is there and not a proxy that leads back here, " +
	"and that it wants neither TLS nor a PROXY protocol header that the cluster's keys do not have"

func (c *Cluster) logUnanswered(err error, attempt int) {
	log := c.log.With(slog.Int(logkey.Attempt, attempt), slog.Any(logkey.Error, err))
	fix := Advice(err)
	if fix == "" && errors.Is(err, io.EOF) && !errors.Is(err, ErrNeedsLogin) {
		fix = closedWithoutAnswer
	}
	if fix != "" {
		log = log.With(slog.String(logkey.Fix, fix))
	}
	_, isLoop := errors.AsType[*upstream.LoopError](err)
	switch {
	case isLoop:
		log.Error("the bootstrap addresses lead back to this proxy; its clients are refused",
			slog.String(logkey.Fix, "point clusters."+c.conf.Name+".bootstrap at the brokers themselves"))
	case errors.Is(err, ErrNeedsLogin) && attempt > 1:
		log.Debug("brokers are not known yet")
	case errors.Is(err, ErrNeedsLogin):
		log.Info("brokers are not known yet")
	default:
		log.Warn("no broker has said who the brokers are; trying on")
	}
}

// ask puts the proxy's own question: ApiVersions v0, which tells whether the
// cluster answers, and then, unless that is known, who its brokers are.
func (c *Cluster) askOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	to, err := c.DialAny(ctx, Client{})
	if err != nil {
		return err
	}
	conn := to.Conn
	defer func() { _ = conn.Close() }()
	defer wait.Bound(ctx, conn)()
	versions := kmsg.NewPtrApiVersionsRequest()
	if err := c.question(to, versions, versions.ResponseKind()); err != nil {
		err = fmt.Errorf("ask for API versions: %w", err)
		if !errors.Is(ctx.Err(), context.Canceled) { // the proxy stops
			c.pulse.failed(err)
		}
		return err
	}
	c.pulse.answered()
	if c.isTaught() {
		return nil
	}
	if _, err = c.askMetadata(to); errors.Is(err, errOutvoted) {
		err = nil // the cluster has answered
	}
	return err
}

// isTaught reports whether any answer has said who the brokers are.
func (c *Cluster) isTaught() bool {
	select {
	case <-c.answered:
		return true
	default:
		return false
	}
}

// askMetadata asks who the brokers are, with Metadata without topics, and learns it.
func (c *Cluster) askMetadata(to Link) (*kmsg.MetadataResponse, error) {
	// Version 1 is the first in which no topics means none.
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version = 4
	metadata.Topics = []kmsg.MetadataRequestTopic{}
	answer := kmsg.NewPtrMetadataResponse()
	number := c.questions.Add(1)
	if err := c.question(to, metadata, answer); err != nil {
		if errors.Is(err, io.EOF) && c.mayNeedLogin() {
			c.mover.needsLogin(true)
			return nil, ErrNeedsLogin
		}
		return nil, fmt.Errorf("ask for metadata: %w", err)
	}
	var brokers rewrite.Brokers
	if answer.ClusterID != nil {
		brokers.ClusterID = *answer.ClusterID
	}
	for _, b := range answer.Brokers {
		brokers.List = append(brokers.List, rewrite.Broker{Node: b.NodeID, Host: b.Host, Port: b.Port})
	}
	if len(brokers.List) == 0 {
		return nil, errors.New("the cluster names no brokers yet")
	}
	c.mover.needsLogin(false)
	told := answerOf(brokers)
	told.From = to.Address
	c.teachAsked(told, number)
	if c.differs(told) {
		return answer, errOutvoted
	}
	return answer, nil
}

// errOutvoted says that other brokers have answered otherwise, and are believed.
var errOutvoted = errors.New("the broker's answer differs from that of others")

// mayNeedLogin reports whether the end of a connection without a response to Metadata
// can mean that the cluster wants a login. It is a broker that stops where kproxy has
// logged in itself, or where the cluster has answered before.
func (c *Cluster) mayNeedLogin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Method == nil && !c.confirmed
}

// question sends one request and reads its response.
func (c *Cluster) question(to Link, req kmsg.Request, into kmsg.Response) error {
	payload, err := c.exchange(to, req)
	if err != nil {
		return err
	}
	into.SetVersion(req.GetVersion())
	if into.Key() == kmsg.ApiVersions.Int16() { // an error may come in the layout of v0
		r := wire.NewReader(payload)
		if code := r.Int16(); code != 0 {
			return kerr.ErrorForCode(code)
		}
	}
	return rewrite.Decode(into, payload)
}

// maxOwnResponse bounds the response to a question of the proxy's own, in bytes.
// Metadata without topics of a thousand brokers takes a tenth of it.
const maxOwnResponse = 1 << 20

// arrived reads the rest of what is no response, as far as it comes at once: it tells which
// service has sent it.
func arrived(conn net.Conn) []byte {
	const most, patience = 504, 100 * time.Millisecond
	rest := make([]byte, most)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	n, _ := io.ReadFull(conn, rest)
	return rest[:n]
}

// exchange sends one request and reads its response, from behind the correlation
// id. The error is a *upstream.LoopError where the request has come back to this
// proxy.
func (c *Cluster) exchange(to Link, req kmsg.Request) (payload []byte, err error) {
	probe := c.probes.begin(to.Address)
	payload, err = c.roundTrip(to.Conn, req, probe.id)
	return payload, c.probes.end(probe, err)
}

func (c *Cluster) roundTrip(conn net.Conn, req kmsg.Request, clientID string) (payload []byte, err error) {
	const correlationID = 1
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))
	if _, err := conn.Write(formatter.AppendRequest(nil, req, correlationID)); err != nil {
		return nil, err
	}
	var prefix [wire.ResponsePrefixLen]byte
	if n, err := io.ReadFull(conn, prefix[:]); err != nil {
		if n > 0 && c.TLS == nil && errors.Is(err, io.ErrUnexpectedEOF) { // an alert of TLS has seven bytes
			return nil, &NotKafkaError{Prefix: prefix[:n]}
		}
		return nil, c.TLSReadError(err)
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
