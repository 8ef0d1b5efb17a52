package simulate

import (
	"strconv"
	"sync"
)

// clientPrefix is in front of a client's number in its client.id.
const clientPrefix = "sim-"

// record is the history of one client's connection, as both of its ends and kproxy report it.
type record struct {
	number   int
	logsIn   string // Settings.Login
	by       string // Settings.Mechanism
	listener string
	node     int32 // whose endpoint the client chose; proxy.NoNode: bootstrap

	mu       sync.Mutex // guards the following
	socket   string     // the client's own address
	address  string     // by which kproxy knows it: that, or the one in a PROXY header
	sent     []call     // whole requests, in order, from before they are written
	written  int        // bytes
	inside   bool       // the client has begun a request and has not sent all of it
	began    bool       // inside, now or before
	awaited  int        // of sent, the next one that a response may be for
	received int        // responses
	reached  int        // of sent, the next one that a broker may get
	read     int        // requests that a broker has read
	answered int        // responses that a broker has written
	cut      string     // how a broker has ended the connection: "", "fin" or "reset"

	halfClosed, closed, reset bool
	paused                    bool   // it has not read for a while
	unsafe                    bool   // its TLS handshake has failed
	refused                   bool   // it has logged in by a wrong password
	end                       string // how the client's reading has ended: "", "eof", "inside" or "error"
	ends                      []ending
}

// clientID is the client.id of the connection.
func (r *record) clientID() string { return clientPrefix + strconv.Itoa(r.number) }

// callOf makes the call of the nth request of a connection.
func (r *record) callOf(n int, name string, size int) call {
	first := int32(r.number*7919) - 2 // some count from below 0
	if r.number%5 == 0 {
		first = 1<<31 - 3 // and some wrap around
	}
	own := name == future || isLogin(name) && r.logsIn == atKproxy
	return call{name: name, correlationID: first + int32(n), token: int32(1 + (r.number*100_003+n*17)%(1<<30)), size: size, own: own, mechanism: r.by}
}

// sends adds a request that is about to be written.
func (r *record) sends(name string, size int) call {
	return r.adds(name, size, func(*call) {})
}

// adds is sends, with a change of the call.
func (r *record) adds(name string, size int, change func(*call)) call {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.callOf(len(r.sent), name, size)
	change(&c)
	r.sent = append(r.sent, c)
	return c
}

// next returns the request that the next response is for. ok is false if there is none.
func (r *record) next() (c call, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.awaited < len(r.sent); r.awaited++ {
		if c = r.sent[r.awaited]; exchanges[c.name].response != nil {
			r.awaited++
			return c, true
		}
	}
	return call{}, false
}

// brokerRead notes that a broker has read a request, and returns the one that it must be, and
// its frame.
func (r *record) brokerRead() (c call, frame []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.reached < len(r.sent); r.reached++ {
		if c = r.sent[r.reached]; !c.own {
			r.reached++
			r.read++
			return c, requestFrame(r.clientID(), c)
		}
	}
	return call{}, nil
}

// hasLeft reports whether the client has ended its side.
func (r *record) hasLeft() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.halfClosed || r.closed
}

func (r *record) brokerWrote() { r.set(func() { r.answered++ }) }

func (r *record) brokerCut(hard bool) {
	r.set(func() {
		if r.cut = "fin"; hard {
			r.cut = "reset"
		}
	})
}

func (r *record) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// teaching are the exchanges that a broker serves for a client of another node, as long as
// kproxy does not know that one.
var teaching = map[string]bool{
	"versions": true, future: true, "metadata": true, "oldmetadata": true, "cluster": true, "coordinator": true,
	shake: true, rawShake: true, firstToken: true, login: true,
}

// asksOnly reports whether brokers have read teaching requests only.
func (r *record) asksOnly() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.sent[:r.reached] {
		if !teaching[c.name] {
			return false
		}
	}
	return true
}

// silent counts the first n requests that have no response. The caller holds mu.
func (r *record) silent(n int) int {
	count := 0
	for _, c := range r.sent[:min(n, len(r.sent))] {
		if exchanges[c.name].response == nil {
			count++
		}
	}
	return count
}

// owed counts the responses that the client waits for.
func (r *record) owed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sent) - r.silent(len(r.sent)) - r.received
}

// own counts the first n requests that kproxy itself responds to. The caller holds mu.
func (r *record) own(n int) int {
	count := 0
	for _, c := range r.sent[:min(n, len(r.sent))] {
		if c.own {
			count++
		}
	}
	return count
}

// records are those of a run.
type records struct {
	mu        sync.Mutex // guards the following
	byNumber  map[int]*record
	byAddress map[string]*record
	all       []*record
}

func newRecords() *records {
	return &records{byNumber: map[int]*record{}, byAddress: map[string]*record{}}
}

func (s *records) add(r *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byNumber[r.number] = r
	s.byAddress[r.address], s.byAddress[r.socket] = r, r
	s.all = append(s.all, r)
}

func (s *records) of(number int) *record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byNumber[number]
}

func (s *records) at(address string) *record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byAddress[address]
}

func (s *records) list() []*record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*record(nil), s.all...)
}
