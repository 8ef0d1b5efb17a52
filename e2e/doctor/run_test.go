//go:build e2e

package doctor

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// limit is the time in which doctor ends, however silent the servers are.
const limit = 9 * time.Second

var update = flag.Bool("update", false, "write the golden texts")

// fault is a planted fault, or a sound set-up.
type fault struct {
	name string
	args []string // of kproxy doctor
	env  []string
	exit int
	// says are words that the output must have, and not are words that it must not have,
	// whatever their case. A | separates words of which one is enough.
	says, not []string
}

// result is the result of a run of doctor.
type result struct {
	stdout, stderr string
	exit           int
	took           time.Duration
}

// run runs kproxy in the user's network and folder.
func (s *site) run(t *testing.T, env []string, args ...string) result {
	t.Helper()
	cmd := lab.Command(t.Context(), s.binary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, &stdout, &stderr
	cmd.Env = append([]string{"HOME=" + s.dir, "PATH=" + os.Getenv("PATH")}, env...)
	began := time.Now()
	err := lab.Run(s.me.Command(cmd))
	r := result{stdout: stdout.String(), stderr: stderr.String(), took: time.Since(began)}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		r.exit = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return r
}

// examine runs doctor on a planted fault, and checks its output.
func (s *site) examine(t *testing.T, f fault) {
	t.Helper()
	r := s.run(t, f.env, append([]string{"doctor"}, f.args...)...)
	s.keep(t, f, r)
	if r.took > limit {
		t.Errorf("it took %v, want less than %v", r.took, limit)
	}
	if r.exit != f.exit {
		t.Errorf("it ended with %d, want %d", r.exit, f.exit)
	}
	r.stdout = elided(r.stdout)
	for _, problem := range f.misses(r.stdout + r.stderr) {
		t.Error(problem)
	}
	f.compare(t, r)
	if t.Failed() {
		t.Logf("kproxy doctor %s\n%s--- stderr\n%s--- exit %d after %v", strings.Join(f.args, " "), r.stdout, r.stderr, r.exit, r.took)
	}
}

// misses are the missing words, and the forbidden ones that are there.
func (f fault) misses(output string) (problems []string) {
	// A line may be broken anywhere.
	output = strings.ToLower(strings.Join(strings.Fields(output), " "))
	has := func(words string) bool {
		return slices.ContainsFunc(strings.Split(words, "|"), func(word string) bool {
			return strings.Contains(output, strings.ToLower(word))
		})
	}
	for _, words := range f.says {
		if !has(words) {
			problems = append(problems, fmt.Sprintf("it does not say %q", words))
		}
	}
	for _, words := range f.not {
		if has(words) {
			problems = append(problems, fmt.Sprintf("it says %q", words))
		}
	}
	return problems
}

// compare compares doctor's output, and its error, with the golden text. Other lines of
// standard error are progress.
func (f fault) compare(t *testing.T, r result) {
	t.Helper()
	lines := slices.Collect(strings.Lines(r.stderr))
	last := ""
	if len(lines) > 0 && r.exit != 0 {
		last = lines[len(lines)-1]
	}
	got := fmt.Sprintf("$ kproxy doctor %s\n%s--- exit %d\n%s", quoted(f.args), stable(r.stdout), r.exit, stable(last))
	file := filepath.Join("testdata", f.name+".golden")
	if *update {
		check(t, os.MkdirAll("testdata", 0o755), os.WriteFile(file, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Errorf("%v; -update writes it", err)
		return
	}
	if got != string(want) {
		t.Errorf("the output differs from %s:\n%s\nwant\n%s", file, got, want)
	}
}

func quoted(args []string) string {
	all := make([]string, len(args))
	for i, arg := range args {
		all[i] = arg
		if strings.ContainsAny(arg, " ;$") {
			all[i] = "'" + arg + "'"
		}
	}
	return strings.Join(all, " ")
}

// unstable matches the parts that differ from run to run, or from machine to machine.
// Whether a table has its addresses in lines of their own depends on how long the times
// are.
var unstable = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\b\d+(\.\d+)?(µs|ms|s)\b`), "TIME"},
	{regexp.MustCompile(`(?m)^(WHO .*TOOK)( +ADDRESS)?$`), "$1  ADDRESS"},
	{regexp.MustCompile(`(?m)^((?:bootstrap|node \d+) .*TIME)(?:\n| +)  *(\S.*)$`), "$1  $2"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d| UTC)?`), "DATE"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d\b`), "DATE"},
	{regexp.MustCompile(`SSH-2\.0-[^"\n]+`), "SSH-2.0-OpenSSH"},
}

func stable(text string) string {
	for _, u := range unstable {
		text = u.what.ReplaceAllString(text, u.with)
	}
	return unwrapped(text)
}

var (
	prose = regexp.MustCompile(`^(  \S|\S)`)                               // and no table, nor a line to paste
	label = regexp.MustCompile(`^(  (wrong|fix|see|note): |  - |WHO |\S)`) // begins a text
)

// unwrapped joins the lines of a text that was wrapped: where a line ends depends on how long
// the names and versions of a machine are.
func unwrapped(text string) string {
	var out strings.Builder
	before := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if out.Len() > 0 {
			if prose.MatchString(before) && prose.MatchString(line) && !label.MatchString(line) {
				line = " " + strings.TrimSpace(line)
			} else {
				out.WriteByte('\n')
				before = line
			}
		} else {
			before = line
		}
		out.WriteString(line)
	}
	if out.Len() > 0 {
		out.WriteByte('\n')
	}
	return out.String()
}

var ofNode = regexp.MustCompile(`of node (\d+)`)

// elided leaves out of lines to paste the entries that the broker has already: a listener for
// each fault.
func elided(text string) string {
	var out strings.Builder
	node := 1
	for line := range strings.Lines(text) {
		if of := ofNode.FindStringSubmatch(line); of != nil {
			node, _ = strconv.Atoi(of[1])
		}
		key, list, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		entries := strings.Split(list, ",")
		if ok && len(entries) >= len(listeners) {
			line = key + "=" + strings.Join(withoutConfigured(entries, node), ",") + "\n"
		}
		out.WriteString(line)
	}
	return out.String()
}

func withoutConfigured(entries []string, node int) (left []string) {
	has := configured(node)
	for _, entry := range entries {
		switch {
		case !has[entry]:
			left = append(left, entry)
		case len(left) == 0 || left[len(left)-1] != "…":
			left = append(left, "…")
		}
	}
	return left
}

// configured are the entries of a broker's listeners, advertised listeners, and
// protocols.
func configured(node int) map[string]bool {
	all := map[string]bool{
		"INTERNAL:PLAINTEXT": true, "INTERNAL://" + lab.HostPort(private(node), internalPort): true,
		"CONTROLLER:PLAINTEXT": true, "CONTROLLER://" + lab.HostPort(public(node), controllerPort): true,
	}
	for _, l := range listeners {
		c := l.forBroker()
		all[l.name+":"+c.Protocol], all[l.name+"://"+c.Bind(node)], all[l.name+"://"+c.Advertise(node)] = true, true, true
	}
	return all
}

// keep keeps the output as it was.
func (s *site) keep(t *testing.T, f fault, r result) {
	t.Helper()
	dir := os.Getenv("E2E_DIR")
	if dir == "" {
		return
	}
	dir = filepath.Join(dir, "output")
	check(t, os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, f.name+".txt"),
		fmt.Appendf(nil, "$ kproxy doctor %s\n%s--- stderr\n%s--- exit %d after %v\n", quoted(f.args), r.stdout, r.stderr, r.exit, r.took.Round(time.Millisecond)), 0o644))
}
