package proxy

import (
	"context"
	"encoding/binary"
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
	turn chan struct{} // holds an element while nobody asks; who takes it owns the following
	last time.Time     // when the last question ended
	err  error         // how
}

func newAsker() asker {
	a := asker{turn: make(chan struct{}, 1)}
	a.turn <- struct{}{}
	return a
}

// askSparingly asks the cluster, or, less than askInterval after the last
// question, says how that one went.
func (c *cluster) askSparingly(ctx context.Context) error {
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
	a.err = c.ask(ctx)
	a.last = time.Now()
	return a.err
}

// askUntilAnswered asks the cluster who its brokers are, until it says so or a
// client's answer has. It sends nothing on a client's connection: before a
// client has logged in, a broker takes a second ApiVersions for an attack.
func (c *cluster) askUntilAnswered(ctx context.Context) {
	for attempt := 1; ; attempt++ {
		err := c.askSparingly(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		c.logUnanswered(err, attempt)
		sleep(ctx, askInterval)
		if ctx.Err() != nil || c.isTaught() {
			return
		}
	}
}

func (c *cluster) logUnanswered(err error, attempt int) {
	log := c.log.With(slog.Int(logkey.Attempt, attempt), slog.Any(logkey.Error, err))
	if fix := adviceOf(err); fix != "" {
		log = log.With(slog.String(logkey.Fix, fix))
	}
	_, isLoop := errors.AsType[*upstream.LoopError](err)
	switch {
	case isLoop, c.looped.Load():
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
func (c *cluster) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c.looped.Store(false)
	to, err := c.dialAny(ctx, party{})
	if err != nil {
		return err
	}
	conn := to.conn
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })()
	versions := kmsg.NewPtrApiVersionsRequest()
	if err := c.question(conn, versions, versions.ResponseKind()); err != nil {
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
	_, err = c.askMetadata(conn)
	return err
}

// isTaught reports whether any answer has said who the brokers are.
func (c *cluster) isTaught() bool {
	select {
	case <-c.answered:
		return true
	default:
		return false
	}
}

// askMetadata asks who the brokers are, with Metadata without topics, and learns it.
func (c *cluster) askMetadata(conn net.Conn) (*kmsg.MetadataResponse, error) {
	// Version 1 is the first in which no topics means none.
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version = 4
	metadata.Topics = []kmsg.MetadataRequestTopic{}
	answer := kmsg.NewPtrMetadataResponse()
	if err := c.question(conn, metadata, answer); err != nil {
		if errors.Is(err, io.EOF) {
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
	c.learn(metadata.Key(), brokers)
	return answer, nil
}

// question sends one request and reads its answer.
func (c *cluster) question(conn net.Conn, req kmsg.Request, into kmsg.Response) error {
	payload, err := c.exchange(conn, req)
	if err != nil {
		return err
	}
	into.SetVersion(req.GetVersion())
	if err := into.ReadFrom(payload); err != nil {
		return err
	}
	if code := int16(binary.BigEndian.Uint16(payload)); into.Key() == kmsg.ApiVersions.Int16() {
		return kerr.ErrorForCode(code)
	}
	return nil
}

// exchange sends one request and reads its answer, from behind the correlation
// id.
func (c *cluster) exchange(conn net.Conn, req kmsg.Request) (payload []byte, err error) {
	const correlationID = 1
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID(c.proxy.probeID))
	if _, err := conn.Write(formatter.AppendRequest(nil, req, correlationID)); err != nil {
		return nil, err
	}
	var prefix [wire.ResponsePrefixLen]byte
	if _, err := io.ReadFull(conn, prefix[:]); err != nil {
		return nil, c.verdict(err)
	}
	size := wire.Size(prefix[:])
	if size < wire.MinResponseSize || size > rewrite.MaxWhole || wire.CorrelationID(prefix[:]) != correlationID {
		return nil, &NotKafkaError{Prefix: prefix[:]}
	}
	payload = make([]byte, size-wire.MinResponseSize)
	_, err = io.ReadFull(conn, payload)
	return payload, err
}
