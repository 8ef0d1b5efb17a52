package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"kproxy/internal/columns"
)

// output keeps the bytes written, and signals when it holds a text.
type output struct {
	mu   sync.Mutex // guards the following
	text strings.Builder
	wake chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// until waits for a text.
func (o *output) until(t *testing.T, want string, ended <-chan error) {
	t.Helper()
	for !strings.Contains(o.String(), want) {
		select {
		case <-o.wake:
		case err := <-ended:
			t.Fatalf("it ended before %q: %v\n%s", want, err, o.String())
		case <-time.After(demoTimeout):
			t.Fatalf("%q did not come:\n%s", want, o.String())
		}
	}
}

// The output of demo fits into a terminal, and its commands work: they are taken from its
// output, and a client does the same as each. e2e has kcat itself.
func TestDemo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	out := &output{wake: make(chan struct{}, 1)}
	ended := make(chan error, 1)
	go func() { ended <- runDemo(ctx, out, 2000, false) }()
	out.until(t, "In another terminal, try:", ended) // the suggestions come in one write
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > columns.Width {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, want := range []string{"records sent 2000, records read 2000\n", "connections that bypassed kproxy 0\n", "  NODE  BIND "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	suggested := regexp.MustCompile(`(?m)^  kcat (.*)$`).FindAllStringSubmatch(out.String(), -1)
	if len(suggested) != 2 {
		t.Fatalf("got %q", suggested)
	}
	for _, command := range suggested {
		asKcat(t, strings.Fields(command[1]))
	}
	tryAdminSuggestions(t, out.String())
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// tryAdminSuggestions opens the status page, and runs the kproxy commands that the demo suggests.
func tryAdminSuggestions(t *testing.T, said string) {
	t.Helper()
	link := regexp.MustCompile(`(?m)^  (http://.*/)$`).FindStringSubmatch(said)
	if link == nil {
		t.Fatalf("there is no address of a status page:\n%s", said)
	}
	resp, err := http.Get(link[1])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(page), demoNames[0]) {
		t.Errorf("the status page: %v, %d, %s", err, resp.StatusCode, page)
	}
	suggested := regexp.MustCompile(`(?m)^  kproxy (.*)$`).FindAllStringSubmatch(said, -1)
	if len(suggested) != 2 {
		t.Fatalf("got %q", suggested)
	}
	for _, command := range suggested {
		args := strings.Fields(command[1])
		if args[0] == "top" {
			args = append(args, "--json") // a test has no terminal
		}
		var stdout, stderr strings.Builder
		if code := run(args, &stdout, &stderr); code != 0 || !strings.Contains(stdout.String(), demoNames[2]) {
			t.Errorf("kproxy %s: %d, %s\n%s", command[1], code, stderr.String(), stdout.String())
		}
	}
}

// asKcat does the same as kcat with these arguments: -L lists brokers, -C reads records.
func asKcat(t *testing.T, args []string) {
	t.Helper()
	flags := map[string]string{}
	for i := 1; i+1 < len(args); i += 2 {
		flags[args[i]] = args[i+1]
	}
	ctx, cancel := context.WithTimeout(t.Context(), demoTimeout)
	defer cancel()
	opts := []kgo.Opt{kgo.SeedBrokers(flags["-b"])}
	if flags["-t"] != "" {
		opts = append(opts, kgo.ConsumeTopics(flags["-t"]), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	switch args[0] {
	case "-L":
		m, err := kadm.NewClient(client).Metadata(ctx)
		if err != nil || len(m.Brokers) != demoBrokers || len(m.Topics[demoTopic].Partitions) != demoPartitions {
			t.Errorf("%v: %+v, %v", args, m, err)
		}
	case "-C":
		want, err := strconv.Atoi(flags["-c"])
		if err != nil {
			t.Fatal(err)
		}
		for read := 0; read < want; {
			fetches := client.PollRecords(ctx, want-read)
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				read++
				if !regexp.MustCompile(`^demo record \d+$`).Match(r.Value) {
					t.Errorf("a record is %q", r.Value)
				}
			})
		}
	default:
		t.Errorf("unknown: %v", args)
	}
}

func TestDemoRecord(t *testing.T) {
	for _, i := range []int{0, 1, 99_999} {
		value := demoRecord(i)
		if got, ok := demoRecordNumber(value); got != i || !ok {
			t.Errorf("%q: %d, %v", value, got, ok)
		}
		if bytes.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q cannot be read", value)
		}
	}
	for _, other := range []string{"", "demo record ", "demo record x", "demo record -1", "12"} {
		if _, ok := demoRecordNumber([]byte(other)); ok {
			t.Errorf("%q is a record", other)
		}
	}
}

// The bar, as it is at its widest.
func TestDemoBar(t *testing.T) {
	var out bytes.Buffer
	bar := newDemoBar(&out, demoRecords)
	for _, n := range []int{1, demoRecords / 2, demoRecords} {
		if err := bar.Set(n); err != nil {
			t.Fatal(err)
		}
	}
	drawn := strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\r' || r == '\n' })
	if len(drawn) == 0 {
		t.Fatal("nothing is drawn")
	}
	for _, line := range drawn {
		if n := utf8.RuneCountInString(line); n > columns.Width {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// A demo gives no port twice: beside another demo, the first free port for its admin server may be one that it has
// chosen for a node.
func TestDemoPorts(t *testing.T) {
	ports := &demoPorts{taken: map[int]bool{}}
	nodes, err := ports.free(9100, 3)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := ports.free(nodes+2, 1); err != nil || other == nodes+2 {
		t.Errorf("%d is chosen twice, %v", other, err)
	}
}
