package contract

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// Result is the JSON object. Its methods may be called by any goroutine.
type Result struct {
	mu     sync.Mutex
	fields fields
	seen   map[int]bool
}

type fields struct {
	Client     string         `json:"client"`
	Version    string         `json:"version"`
	Work       string         `json:"work"`
	Sent       int            `json:"sent"`
	Acked      int            `json:"acked"`
	Read       int            `json:"read"`
	Distinct   int            `json:"distinct"`
	Duplicates int            `json:"duplicates"`
	Addresses  []string       `json:"addresses"`
	Error      string         `json:"error,omitempty"`
	NotOffered string         `json:"not_offered,omitempty"`
	Details    map[string]any `json:"details"`
}

func newResult(client, version, work string) *Result {
	return &Result{
		seen: map[int]bool{},
		fields: fields{
			Client: client, Version: version, Work: work,
			Addresses: []string{}, Details: map[string]any{},
		},
	}
}

// Sent counts n records that were handed to the library.
func (r *Result) Sent(n int) { r.with(func(f *fields) { f.Sent += n }) }

// Acked counts n records that the library says were stored.
func (r *Result) Acked(n int) { r.with(func(f *fields) { f.Acked += n }) }

// Detail sets one of the details.
func (r *Result) Detail(key string, value any) {
	r.with(func(f *fields) { f.Details[key] = value })
}

// Address adds an address that the client got for a broker.
func (r *Result) Address(hostport string) {
	r.with(func(f *fields) {
		if !slices.Contains(f.Addresses, hostport) {
			f.Addresses = append(f.Addresses, hostport)
			slices.Sort(f.Addresses)
		}
	})
}

// Read counts a record that was read, if it is one of prefix's, and says how
// many different ones there have been.
func (r *Result) Read(prefix string, value []byte) int {
	n, ours := number(prefix, value)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ours {
		return r.fields.Distinct
	}
	r.fields.Read++
	if r.seen[n] {
		r.fields.Duplicates++
	} else {
		r.seen[n] = true
		r.fields.Distinct++
	}
	return r.fields.Distinct
}

func (r *Result) counts() (sent, acked, distinct int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fields.Sent, r.fields.Acked, r.fields.Distinct
}

func (r *Result) with(f func(*fields)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.fields)
}

func (r *Result) print(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out, err := json.Marshal(r.fields)
	if err != nil { // a detail that is no JSON is a bug of a client program
		panic(err)
	}
	fmt.Fprintf(w, "%s\n", out)
}

// Value is record n, padded to size.
func Value(prefix string, n, size int) []byte {
	v := fmt.Sprintf("%s-%08d", prefix, n)
	if pad := size - len(v); pad > 0 {
		v += strings.Repeat(".", pad)
	}
	return []byte(v)
}

// Key is the key of record n: different for each, so that every partition
// gets some.
func Key(n int) []byte { return fmt.Appendf(nil, "%08d", n) }

func number(prefix string, value []byte) (int, bool) {
	rest, ours := strings.CutPrefix(string(value[:min(len(value), len(prefix)+9)]), prefix+"-")
	if !ours || len(rest) < 8 {
		return 0, false
	}
	var n int
	if _, err := fmt.Sscanf(rest[:8], "%d", &n); err != nil {
		return 0, false
	}
	return n, true
}
