package proxy_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
	"kproxy/proxy"
)

// churnExchange is a request and its response, as frames. Correlation ids and the client
// id are filled in.
type churnExchange struct {
	request []byte
	answer  []byte // nil: there is none
}

// Positions in a request of the values that each use of it sets.
const (
	apiAt           = wire.SizeLen // key and version
	correlationIDAt = apiAt + 4
	clientIDAt      = wire.RequestPrefixLen + 2
	answerIDAt      = wire.SizeLen
	churnClientID   = "churn-"
)

// churnExchanges are exchanges of every kind: responses that pass unread, responses that are
// rewritten as a whole, by their head or by their tail, frames of more than one buffer, and
// requests without a response.
var churnExchanges = sync.OnceValue(func() []churnExchange {
	coordinator := kmsg.NewFindCoordinatorResponseCoordinator()
	coordinator.NodeID = 1
	coordinator.Host, coordinator.Port = brokerAddress(1)
	coordinators := answerTo(4, kmsg.NewPtrFindCoordinatorResponse())
	coordinators.Coordinators = append(coordinators.Coordinators, coordinator)
	var all []churnExchange
	for _, e := range []struct {
		req  kmsg.Request
		resp kmsg.Response
	}{
		{heartbeat(), heartbeatAnswer()},
		{of(3, kmsg.NewPtrApiVersionsRequest()), answerTo(3, kmsg.NewPtrApiVersionsResponse())},
		{metadataRequest(12), metadataAnswer(12, 0, 1)},
		{metadataRequest(1), metadataAnswer(1, 0, 1)},
		{of(4, kmsg.NewPtrFindCoordinatorRequest()), coordinators},
		{of(17, kmsg.NewPtrFetchRequest()), fetchAnswer(17, make([]byte, 20_000))},
		{of(12, kmsg.NewPtrFetchRequest()), fetchAnswer(12, make([]byte, 100))},
		{produceRequest(9, -1, "", make([]byte, 20_000)), answerTo(9, kmsg.NewPtrProduceResponse())},
		{produceRequest(8, 0, "", make([]byte, 3_000)), nil},
	} {
		formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID(churnClientID + "000000"))
		x := churnExchange{request: formatter.AppendRequest(nil, e.req, 0)}
		if e.resp != nil {
			x.answer = answerFrame(0, e.resp)
		}
		all = append(all, x)
	}
	return all
})

// churnPlan is what becomes of one connection. The broker learns from the client
// id which one it is.
type churnPlan struct {
	number   int
	address  string
	asks     []churnExchange
	inStep   int // of those, how many wait for their response before the next is sent
	reads    int // of the others' responses, how many are read before the client ends
	split    int // the others are sent in two pieces; this is the first
	byBroker bool
	how      howToEnd
	midFrame bool
	at       int // after how many bytes of requests, or the broker of responses
}

// howToEnd is how a side ends its connection.
type howToEnd string

const (
	orderly   howToEnd = "close"
	halfClose howToEnd = "half-close" // and all responses are read
	byReset   howToEnd = "reset"
)

var churnAddresses = []string{"bob.test:9092", "bob.test:9100", "bob.test:9101", "localhost:39092", "localhost:39101"}

func newChurnPlan(number int, random *rand.Rand) *churnPlan {
	p := &churnPlan{
		number:   number,
		address:  churnAddresses[random.IntN(len(churnAddresses))],
		byBroker: random.IntN(5) < 2,
		how:      []howToEnd{orderly, byReset, halfClose}[random.IntN(3)],
		midFrame: random.IntN(2) == 0,
	}
	if p.byBroker && p.how == halfClose {
		p.how = orderly
	}
	p.asks = append(p.asks, churnExchanges()[random.IntN(len(churnExchanges())-1)]) // one that is answered
	for range random.IntN(6) {
		p.asks = append(p.asks, churnExchanges()[random.IntN(len(churnExchanges()))])
	}
	var frames [][]byte // of the side that ends
	for _, x := range p.asks {
		switch {
		case !p.byBroker:
			frames = append(frames, x.request)
		case x.answer != nil:
			frames = append(frames, x.answer)
		}
	}
	whole := random.IntN(len(frames) + 1)
	if p.midFrame {
		whole = random.IntN(len(frames))
		p.at = 1 + random.IntN(len(frames[whole])-1)
	}
	for _, frame := range frames[:whole] {
		p.at += len(frame)
	}
	if p.byBroker {
		whole = len(p.asks)
	} else {
		p.asks = p.asks[:min(whole+1, len(p.asks))] // the last one is not sent to its end
	}
	p.inStep = random.IntN(whole + 1)
	p.reads = random.IntN(whole - p.inStep + 1)
	p.split = random.IntN(1 << 14)
	return p
}

func (p *churnPlan) way() string {
	side, where := "client", "between frames"
	if p.byBroker {
		side = "broker"
	}
	if p.midFrame {
		where = "mid-frame"
	}
	return fmt.Sprintf("by %s, %s, %s", side, p.how, where)
}

// reasons are why the session may end. Where two sides are at work at once, there
// is more than one; and Linux tells of a reset once, to a write or to a read,
// after which there is only an end.
func (p *churnPlan) reasons() []proxy.CloseReason {
	switch {
	case p.byBroker:
		return []proxy.CloseReason{proxy.BrokerClosed, proxy.BrokerReset}
	case p.at == 0:
		return []proxy.CloseReason{proxy.NoRequest}
	case p.how == halfClose:
		return []proxy.CloseReason{proxy.ClientClosed}
	default:
		return []proxy.CloseReason{proxy.ClientClosed, proxy.ClientReset}
	}
}

// use is the client's side: it asks, reads, and ends when it is its turn to. The
// error says what should not have been.
func (p *churnPlan) use(c client) error {
	stream, answered := p.requests()
	sent := 0
	for i, x := range p.asks[:p.inStep] {
		if c.tryWrite(stream[sent:sent+len(x.request)]) != nil {
			return p.unlessByBroker("the connection ended inside request", i)
		}
		sent += len(x.request)
		if x.answer == nil {
			continue
		}
		if _, err := c.tryFrame(); err != nil {
			return p.unlessByBroker("the connection ended in front of the answer to request", i)
		}
		answered--
	}
	rest := stream[sent:]
	split := min(p.split, len(rest))
	_, _ = c.tryWrite(rest[:split]), c.tryWrite(rest[split:]) // fails if the broker has ended
	switch {
	case p.byBroker:
		_, _ = c.ended()
	case p.how == halfClose:
		c.closeWrite()
		if got, err := c.countFrames(); got != answered || err != nil {
			return fmt.Errorf("%d answers, want %d: %w", got, answered, err)
		}
	default:
		for range min(p.reads, answered) {
			if _, err := c.tryFrame(); err != nil {
				return p.unlessByBroker("the connection ended", 0)
			}
		}
		if p.how == byReset {
			c.reset()
		}
	}
	return nil
}

func (p *churnPlan) unlessByBroker(what string, i int) error {
	if p.byBroker {
		return nil
	}
	return fmt.Errorf("%s %d", what, i)
}

// requests is all that the client sends, and how many responses are due for it.
func (p *churnPlan) requests() (stream []byte, answers int) {
	for i, x := range p.asks {
		start := len(stream)
		stream = append(stream, x.request...)
		request := stream[start:]
		binary.BigEndian.PutUint32(request[correlationIDAt:], uint32(i))
		copy(request[clientIDAt+len(churnClientID):], fmt.Sprintf("%06d", p.number))
		if x.answer != nil && (p.byBroker || len(stream) <= p.at) {
			answers++
		}
	}
	if !p.byBroker {
		stream = stream[:p.at]
	}
	return stream, answers
}

// countFrames reads to the end, which must come behind a frame.
func (c client) countFrames() (n int, err error) {
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.in.Peek(1); errors.Is(err, io.EOF) {
			return n, nil
		}
		if _, err := c.tryFrame(); err != nil {
			return n, err
		}
		n++
	}
}

// churnBroker answers all requests, and ends connections as it is planned.
type churnBroker struct {
	own   broker // answers the proxy's own questions
	plans atomic.Pointer[[]*churnPlan]
	known map[string]churnExchange // by api key and version, as a frame has them
}

// start makes it the nodes 0 and 1.
func (b *churnBroker) start(t *testing.T, l *lab) {
	t.Helper()
	b.known = map[string]churnExchange{}
	for _, x := range churnExchanges() {
		b.known[string(x.request[apiAt:correlationIDAt])] = x
	}
	socket, err := l.vpc.Listen(t.Context(), "tcp", brokerName(0))
	if err != nil {
		t.Fatal(err)
	}
	l.vpc.Alias(brokerName(1), brokerName(0))
	b.own.t, b.own.names = t, brokersNamed(0, 1)
	serveEach(t, socket, func(conn net.Conn) { b.serve(brokerConn{newPeer(t, conn)}) })
}

func (b *churnBroker) serve(c brokerConn) {
	id := c.clientID()
	if strings.HasPrefix(id, "kproxy-probe/") {
		b.own.sort(c)
		return
	}
	defer c.close()
	number, err := strconv.Atoi(strings.TrimPrefix(id, churnClientID))
	if err != nil {
		return // the client has ended before its id had come
	}
	plans := b.plans.Load()
	if plans == nil {
		return // the round is over, and the client has left
	}
	plan := (*plans)[number]
	written := 0
	for !plan.byBroker || written < plan.at {
		frame, err := c.tryFrame()
		if err != nil {
			return
		}
		answer := append([]byte(nil), b.known[string(frame[apiAt:correlationIDAt])].answer...)
		if answer == nil {
			continue
		}
		copy(answer[answerIDAt:], frame[correlationIDAt:clientIDAt-2])
		if plan.byBroker {
			answer = answer[:min(len(answer), plan.at-written)]
		}
		if c.tryWrite(answer) != nil {
			return
		}
		written += len(answer)
	}
	if plan.how == byReset {
		c.reset()
	}
}
