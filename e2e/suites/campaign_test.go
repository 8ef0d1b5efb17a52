//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// TestMain is also a test suite: the one of planted.
func TestMain(m *testing.M) {
	if way := os.Getenv("SUITES_PLANTED"); way != "" {
		os.Exit(plant(way, os.Getenv("SUITES_ONLY"))) //nolint:forbidigo // TestMain ends the process
	}
	os.Exit(m.Run()) //nolint:forbidigo // TestMain ends the process
}

// plant plays a suite: its tests fail in one way or the other.
func plant(way, only string) (code int) {
	for _, name := range []string{"TestGood", "TestFailsThrough", "TestFailsBoth", "TestFailsOnce"} {
		if only != "" && !slices.Contains(strings.Split(only, ","), name) {
			continue
		}
		action := "pass"
		switch {
		case os.Getenv("SUITES_GOOD") != "":
		case name == "TestFailsThrough" && way == through.String(),
			name == "TestFailsBoth",
			name == "TestFailsOnce" && way == through.String() && only == "":
			action, code = "fail", 1
		}
		fmt.Fprintf(os.Stdout, "{\"Action\":\"output\",\"Test\":%q,\"Output\":\"of %s\\n\"}\n{\"Action\":%q,\"Test\":%[1]q}\n", name, way, action)
	}
	if strings.Contains(os.Getenv("SUITES_DIES"), way) {
		return 3
	}
	return code
}

// planted is a suite of the tests' own binary, whose brokers are none.
type planted struct {
	dir      string
	fetchErr error
	env      []string
}

func (p *planted) about() about                                 { return about{name: "planted", limit: time.Minute} }
func (p *planted) fetch(context.Context, *site) (string, error) { return "planted v1", p.fetchErr }
func (p *planted) brokers() brokers                             { return p }
func (p *planted) start(context.Context, *site) error           { return nil }
func (p *planted) close()                                       {}
func (p *planted) String() string                               { return "no brokers" }

func (p *planted) open(_ context.Context, _ *site, w way) (target, func() (counts, error), error) {
	c := counts{}
	if w == through {
		c = counts{sessions: 3, dials: map[string]int{"ok": 2, "timeout": 1}}
	}
	return target{way: w, dir: p.dir}, func() (counts, error) { return c, nil }, nil
}

func (p *planted) commands(ctx context.Context, at target, only []string) []*exec.Cmd {
	cmd := lab.Command(ctx, os.Args[0])
	cmd.Env = append(append(os.Environ(), "SUITES_PLANTED="+at.way.String(), "SUITES_ONLY="+strings.Join(only, ",")), p.env...)
	return []*exec.Cmd{cmd}
}

func (p *planted) parse(output io.Reader, note func(string, result)) error {
	return parseGoTest(output, note)
}

// runPlanted runs one planted suite.
func runPlanted(t *testing.T, p *planted) *report {
	t.Helper()
	p.dir = t.TempDir()
	c := newCampaign(nil, options{})
	c.out = io.Discard
	for _, r := range c.runAll(t.Context(), []suite{p}) {
		return r
	}
	t.Fatal("there is no report")
	return nil
}

// A test that fails through kproxy alone, twice, counts against it. One that fails
// directly too does not, nor does one that passes in its second try.
func TestPlantedFailures(t *testing.T) {
	r := runPlanted(t, &planted{})
	if r.err != nil {
		t.Fatal(r.err)
	}
	for v, want := range map[verdict][]string{
		alike: {"TestGood"}, against: {"TestFailsThrough"}, both: {"TestFailsBoth"}, once: {"TestFailsOnce"},
	} {
		if got := r.with(v); !slices.Equal(got, want) {
			t.Errorf("%v: got %v, want %v", v, got, want)
		}
	}
	if err := r.problem(); err == nil || !strings.Contains(err.Error(), "TestFailsThrough") || strings.Contains(err.Error(), "TestFailsBoth") {
		t.Errorf("got %v, want an error of TestFailsThrough alone", err)
	}
	// The second try is counted too.
	if c := r.through.counts; c.sessions != 6 || c.failedDials() != 2 {
		t.Errorf("got %d sessions and %d failed dials, want 6 and 2", c.sessions, c.failedDials())
	}
}

// A process that fails although all of its tests pass counts as a test that fails.
func TestProcessThatDies(t *testing.T) {
	good := "SUITES_GOOD=1"
	if r := runPlanted(t, &planted{env: []string{good, "SUITES_DIES=" + through.String()}}); r.err != nil || !slices.Equal(r.with(against), []string{processTest}) {
		t.Errorf("through kproxy: got %v against it, %v; want %v", r.with(against), r.err, processTest)
	}
	if r := runPlanted(t, &planted{env: []string{good, "SUITES_DIES=" + directly.String()}}); r.err != nil || r.problem() != nil {
		t.Errorf("directly: got %v, %v; want no problem", r.err, r.problem())
	}
	if r := runPlanted(t, &planted{}); len(r.tests) != 4 {
		t.Errorf("got %d tests, want 4: a failed test is no failed process, too", len(r.tests))
	}
}

func TestSuiteThatCannotBeBuilt(t *testing.T) {
	missing := errors.New("no compiler")
	if err := runPlanted(t, &planted{fetchErr: missing}).problem(); !errors.Is(err, missing) {
		t.Errorf("got %v, want %v", err, missing)
	}
}

func TestSuiteWithoutTests(t *testing.T) {
	const nothing = "SUITES_ONLY=TestThatIsNotThere"
	for _, env := range [][]string{{nothing}, {nothing, "SUITES_DIES=" + directly.String() + "," + through.String()}} {
		if err := runPlanted(t, &planted{env: env}).problem(); err == nil || !strings.Contains(err.Error(), "no test ran") {
			t.Errorf("%v: got %v, want no test ran", env, err)
		}
	}
}

func TestChoose(t *testing.T) {
	for names, want := range map[string]int{"": len(suites(options{})), "kgo": 1, "kgo-fake-*": len(fakeVersions), "kfake,librdkafka-classic": 2} {
		var o options
		if names != "" {
			o.suites = strings.Split(names, ",")
		}
		if got, err := choose(o); err != nil || len(got) != want {
			t.Errorf("%q: got %d suites, %v; want %d", names, len(got), err, want)
		}
	}
	if got, err := choose(options{quick: true}); err != nil || len(got) != len(fakeVersions)+1 {
		t.Errorf("quick: got %d suites, %v; want %d", len(got), err, len(fakeVersions)+1)
	}
	for _, o := range []options{{suites: []string{"kgo", "kg"}}, {quick: true, suites: []string{"librdkafka-classic"}}, {suites: []string{"[", "kgo"}}} {
		if _, err := choose(o); err == nil {
			t.Errorf("%+v: got no error", o)
		}
	}
}

func TestCounts(t *testing.T) {
	const metrics = `kproxy_sessions_opened_total{cluster="vpc",listener="a"} 7
kproxy_sessions_opened_total{cluster="vpc",listener="b"} 5
kproxy_dials_total{cluster="vpc",node="1",outcome="ok"} 9
kproxy_dials_total{cluster="vpc",node="1",outcome="canceled"} 2
kproxy_dials_total{cluster="vpc",node="2",outcome="timeout"} 3
kproxy_sessions_closed_total{cluster="vpc",listener="a",node="1",reason="client_closed"} 10
kproxy_sessions_closed_total{cluster="vpc",listener="a",node="1",reason="unexpected_answer"} 1
`
	c, err := readCounts(metrics)
	if err != nil {
		t.Fatal(err)
	}
	c = c.add(counts{sessions: 1, ends: map[string]int{"unexpected_answer": 1}})
	if c.sessions != 13 || c.failedDials() != 3 || c.others() != "unexpected_answer 2" {
		t.Errorf("got %d sessions, %d failed dials, %q; want 13, 3, unexpected_answer 2", c.sessions, c.failedDials(), c.others())
	}
	file := filepath.Join(t.TempDir(), "counts")
	if _, err := readFrontCounts(file); err == nil {
		t.Error("no file: got no error, although no cluster had a kproxy")
	}
	line := `{"Sessions":2,"Dials":{"ok":1},"Ends":{"client_closed":2}}` + "\n"
	if err := os.WriteFile(file, []byte(line+line), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := readFrontCounts(file); err != nil || c.sessions != 4 || c.dials["ok"] != 2 {
		t.Errorf("got %+v, %v; want 4 sessions and 2 dials", c, err)
	}
}

// A version whose sources have changed needs other edits, and says so.
func TestEdit(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.go")
	if err := os.WriteFile(file, []byte("old old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (edit{"a.go", "old", "new", 1}).apply(dir); err == nil {
		t.Error("a text that is there twice: got no error")
	}
	if err := (edit{"a.go", "old", "new", 2}).apply(dir); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "new new" {
		t.Errorf("got %q, %v", text, err)
	}
}

// The page keeps the other suites' parts, and has the new one in their order.
func TestPage(t *testing.T) {
	r := runPlanted(t, &planted{})
	r.about.title = "Planted"
	before := pageHead + pageTable + "| [Other](#other) | old |\n| [Planted](#planted) | old |\n" +
		heading + "other\n\nKept.\n" + heading + "planted\n\nReplaced.\n"
	got := page(before, r, []string{"planted", "other"})
	for _, want := range []string{"| [Other](#other) | old |\n", "\n## other\n\nKept.\n", "\n## planted\n\nPlanted: planted v1, with no brokers.", "| TestFailsThrough | passed | failed, failed |", "| 6 | 2 |"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page has no %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "Replaced") || strings.Contains(got, "(#planted) | old") || strings.Index(got, "(#planted)") > strings.Index(got, "(#other)") {
		t.Errorf("the page is not in order:\n%s", got)
	}
	if twice := page(got, r, []string{"planted", "other"}); twice != got {
		t.Errorf("the second time: got\n%s\nwant\n%s", twice, got)
	}
	if err := r.writeTable(filepath.Join(t.TempDir(), "tables")); err != nil {
		t.Error(err)
	}
}
