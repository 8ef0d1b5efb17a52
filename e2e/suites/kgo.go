//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// quickRecords is how many records kgo's tests send in .ci/run.
const quickRecords = 5000

// The user of the suites.
const (
	username = "frank"
	password = "never-gonna-let-you-down"
)

// kgo are the tests of franz-go's client.
type kgo struct {
	on      brokers
	records int
	chaos   bool // connections die after a second (KGO_TEST_CHAOS); the tests of groups, transactions and share groups alone

	site     *site
	bin, dir string
}

func (k *kgo) about() about {
	a := about{
		limit: 20 * time.Minute,
		how:   fmt.Sprintf("`KGO_TEST_RF=3 KGO_TEST_RECORDS=%d`", k.records),
	}
	switch on := k.on.(type) {
	case *fake:
		a.name, a.title, a.quick = "kgo-fake-"+strings.ReplaceAll(on.version, ".", "-"), "franz-go's kgo on "+on.String(), true
	case *kafka:
		a.name, a.title = "kgo", "franz-go's kgo"
		a.how += ", `KGO_TEST_SCRAM` and `KGO_TEST_SCRAM_SEEDS`: the client's login passes through"
		if on.edge {
			a.name, a.title = "kgo-edge", "franz-go's kgo over TLS"
			a.how = fmt.Sprintf("`KGO_TEST_RF=3 KGO_TEST_RECORDS=%d`, `KGO_TEST_TLS`: one port with TLS, the broker by server name; "+
				"kproxy logs in at the brokers (`sasl`), and the clients of `KGO_TEST_SCRAM_SEEDS` log in at kproxy (`login`). Directly: without TLS. Both without %s, which sets a dialer: franz-go refuses that beside TLS, "+
				"and the test ends the whole run", k.records, noTLSTest)
		}
		if k.chaos {
			a.name, a.title = a.name+"-chaos", "franz-go's kgo, connections that die"
			a.how += "; `KGO_TEST_CHAOS=1`, the tests that it changes (" + chaosTests + ")"
		}
	}
	return a
}

// chaosTests are the tests that KGO_TEST_CHAOS changes.
const chaosTests = "^Test(Share)?GroupETL$"

// noTLSTest is the test that cannot run with KGO_TEST_TLS.
const noTLSTest = "TestIssue769"

const kgoModule = "github.com/twmb/franz-go"

func (k *kgo) fetch(ctx context.Context, s *site) (string, error) {
	k.site = s
	version, err := s.kgoTests(ctx)
	k.bin, k.dir = s.kgoBin, s.kgoDir
	return kgoModule + " " + version + ", pkg/kgo", err
}

// kgoTests builds the tests of kgo once.
func (s *site) kgoTests(ctx context.Context) (string, error) {
	s.kgoOnce.Do(func() {
		var src string
		if src, s.kgoVersion, s.kgoErr = s.module(ctx, kgoModule); s.kgoErr != nil {
			return
		}
		var dir string
		if dir, s.kgoErr = copyTree(s, src, "pkg"); s.kgoErr != nil {
			return
		}
		s.kgoDir = filepath.Join(dir, "pkg", "kgo")
		s.kgoBin = filepath.Join(dir, "kgo.testbin")
		_, s.kgoErr = s.build(ctx, dir, "test", "-mod=mod", "-c", "-o", s.kgoBin, "./pkg/kgo")
	})
	return s.kgoVersion, s.kgoErr
}

// module finds the sources of a module of the Go command's, in the version of kproxy's
// go.mod. The Go command fetches them if they are missing.
func (s *site) module(ctx context.Context, path string) (dir, version string, err error) {
	root, err := lab.ModuleRoot()
	if err != nil {
		return "", "", err
	}
	out, err := s.build(ctx, root, "list", "-m", "-f", "{{.Version}}", path)
	if err != nil {
		return "", "", err
	}
	version = strings.TrimSpace(out)
	out, err = s.build(ctx, root, "mod", "download", "-json", path+"@"+version)
	if err != nil {
		return "", "", err
	}
	var m struct{ Dir string }
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		return "", "", fmt.Errorf("go mod download: %w\n%s", err, out)
	}
	return m.Dir, version, nil
}

// copyTree copies go.mod, go.sum and a directory of a module to where they can be
// written.
func copyTree(s *site, src, sub string) (string, error) {
	dir, err := s.newDir("src")
	if err != nil {
		return "", err
	}
	if err := os.CopyFS(filepath.Join(dir, sub), os.DirFS(filepath.Join(src, sub))); err != nil {
		return "", err
	}
	if sub == "." {
		return dir, writable(dir)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(src, name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return "", err
		}
	}
	return dir, writable(dir)
}

// writable makes the files of a copied module the owner's to change: the module cache is
// read-only.
func writable(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	})
}

func (k *kgo) brokers() brokers { return k.on }

func (k *kgo) commands(ctx context.Context, at target, only []string) []*exec.Cmd {
	cmd := k.site.goTest(ctx, "", k.bin, k.dir, k.about().limit, only)
	if k.chaos && only == nil {
		cmd.Args = append(cmd.Args, "-test.run="+chaosTests)
	}
	cmd.Env = append(cmd.Env,
		"KGO_SEEDS="+at.seeds, "KGO_TEST_RF=3", fmt.Sprintf("KGO_TEST_RECORDS=%d", k.records), "KGO_LOG_LEVEL=none")
	if k.chaos {
		cmd.Env = append(cmd.Env, "KGO_TEST_CHAOS=1")
	}
	if at.scram != "" {
		cmd.Env = append(cmd.Env, "KGO_TEST_SCRAM_SEEDS="+at.scram, "KGO_TEST_SCRAM="+username+":"+password)
	}
	if on, ok := k.on.(*kafka); ok && on.edge {
		cmd.Args = append(cmd.Args, "-test.skip=^"+noTLSTest+"$")
	}
	if at.ca != "" {
		cmd.Env = append(cmd.Env, "KGO_TEST_TLS=ca:"+at.ca)
	}
	return []*exec.Cmd{cmd}
}

func (k *kgo) parse(output io.Reader, note func(string, result)) error {
	return parseGoTest(output, note)
}

// goTest runs a Go test binary in the namespace, with its events as JSON. pkg is in each
// event; "" is none.
func (s *site) goTest(ctx context.Context, pkg, bin, dir string, limit time.Duration, only []string) *exec.Cmd {
	args := []string{"-t", "-p=" + pkg, bin, "-test.v=test2json", "-test.count=1", "-test.timeout=" + limit.String(), "-test.parallel=8"}
	if only != nil {
		var exact []string
		for _, name := range topLevel(only) {
			exact = append(exact, regexp.QuoteMeta(name))
		}
		args = append(args, "-test.run=^("+strings.Join(exact, "|")+")$")
	}
	cmd := s.net.Command(lab.Command(ctx, s.test2go, args...))
	cmd.Dir = dir
	cmd.Env = os.Environ()
	return cmd
}
