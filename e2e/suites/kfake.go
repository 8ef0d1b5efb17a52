//go:build linux

package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// kfakeOwn are the tests of franz-go's fake cluster: clients that meet strange brokers.
// Each of them starts a fake cluster in its own process, so the kproxy before it is in that
// process too, as package proxy. The copy of kfake gets testdata/front.go, and these
// edits.
type kfakeOwn struct {
	site *site
	dir  string // the copy
}

// kfakePackages are its packages with tests; the first one is kfake itself.
var kfakePackages = []string{"kfake", "kafka_tests"}

//go:embed testdata/front.go
var kfakeFront []byte

// edit replaces a text that a file has this many times.
type edit struct {
	file, old, with string
	times           int
}

// kfakeEdits put a kproxy before each cluster.
var kfakeEdits = []edit{
	{"cluster.go", "\nfunc NewCluster(opts ...Opt) (*Cluster, error) {", "\nfunc newBareCluster(opts ...Opt) (*Cluster, error) {", 1},
	{"cluster.go", "func (c *Cluster) ListenAddrs() []string {", "func (c *Cluster) brokerAddrs() []string {", 1},
	{"cluster.go", "\t// Shutdown sequence:\n", "\tdefer c.closeFront()\n\t// Shutdown sequence:\n", 1},
	{"cluster.go", "\treturn h, int32(p32)\n", "\treturn b.advertisedHost(h), int32(p32)\n", 1},
	// Tests have brokers respond with the addresses that their clients know.
	{"client_conn.go", "resp.kresp.AppendTo(buf)", "cc.c.withOwnAddresses(resp.kresp).AppendTo(buf)", 1},
}

func (e edit) apply(dir string) error {
	file := filepath.Join(dir, e.file)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if n := strings.Count(string(text), e.old); n != e.times {
		return fmt.Errorf("%s has %q %d times, not %d: this version needs other edits", e.file, e.old, n, e.times)
	}
	return os.WriteFile(file, []byte(strings.ReplaceAll(string(text), e.old, e.with)), 0o600)
}

func (k *kfakeOwn) about() about {
	return about{
		name: "kfake", title: "kfake's own tests", quick: true, limit: 10 * time.Minute,
		how: "a kproxy (package proxy) before each fake cluster, whose brokers advertise names that do not resolve; it ends with its cluster at once, and cuts the sessions that are open (drain_timeout)",
	}
}

const kfakeModule = "github.com/twmb/franz-go/pkg/kfake"

func (k *kfakeOwn) fetch(ctx context.Context, s *site) (string, error) {
	k.site = s
	src, version, err := s.module(ctx, kfakeModule)
	if err != nil {
		return "", err
	}
	root, err := lab.ModuleRoot()
	if err != nil {
		return "", err
	}
	dir, err := copyTree(s, src, ".")
	if err != nil {
		return "", err
	}
	errs := []error{os.WriteFile(filepath.Join(dir, "front.go"), kfakeFront, 0o600)}
	for _, e := range kfakeEdits {
		errs = append(errs, e.apply(dir))
	}
	// kproxy's own go.mod chooses the versions.
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		errs = append(errs, err, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	if _, err := s.build(ctx, dir, "mod", "edit", "-module="+kfakeModule, "-droprequire="+kfakeModule,
		"-require=kproxy@v0.0.0", "-replace=kproxy="+root); err != nil {
		return "", err
	}
	k.dir = dir
	for _, pkg := range kfakePackages {
		if _, err := s.build(ctx, dir, "test", "-mod=mod", "-c", "-o", k.bin(pkg), k.path(pkg)); err != nil {
			return "", err
		}
	}
	return kfakeModule + " " + version, nil
}

func (k *kfakeOwn) bin(pkg string) string { return filepath.Join(k.dir, pkg+".testbin") }

// path is a package's directory.
func (k *kfakeOwn) path(pkg string) string {
	if pkg == kfakePackages[0] {
		return k.dir
	}
	return filepath.Join(k.dir, pkg)
}

// ofPackage are the names of a package's tests, without the package.
func ofPackage(pkg string, all []string) (list []string) {
	for _, name := range all {
		if name, ok := strings.CutPrefix(name, pkg+"."); ok {
			list = append(list, name)
		}
	}
	return list
}

func (k *kfakeOwn) brokers() brokers { return ownBrokers{} }

func (k *kfakeOwn) commands(ctx context.Context, at target, only []string) []*exec.Cmd {
	var all []*exec.Cmd
	for _, pkg := range kfakePackages {
		mine := only
		if only != nil {
			if mine = ofPackage(pkg, only); mine == nil {
				continue
			}
		}
		cmd := k.site.goTest(ctx, pkg, k.bin(pkg), k.path(pkg), k.about().limit, mine)
		if at.way == through {
			cmd.Env = append(cmd.Env, "SUITES_FRONT_COUNTS="+at.counts)
		}
		all = append(all, cmd)
	}
	return all
}

func (k *kfakeOwn) parse(output io.Reader, note func(string, result)) error {
	return parseGoTest(output, note)
}

// ownBrokers are those of a suite that starts its own.
type ownBrokers struct{}

func (ownBrokers) String() string                     { return "its own fake clusters" }
func (ownBrokers) start(context.Context, *site) error { return nil }
func (ownBrokers) close()                             {}

func (ownBrokers) open(_ context.Context, s *site, w way) (target, func() (counts, error), error) {
	dir, err := s.newDir("own")
	if err != nil {
		return target{}, nil, err
	}
	t := target{way: w, dir: dir, counts: filepath.Join(dir, "counts")}
	if w == directly {
		return t, func() (counts, error) { return counts{}, nil }, nil
	}
	return t, func() (counts, error) { return readFrontCounts(t.counts) }, nil
}

// readFrontCounts adds up the lines of testdata/front.go.
func readFrontCounts(file string) (counts, error) {
	all := counts{}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return all, errors.New("no fake cluster had a kproxy before it")
	}
	if err != nil {
		return all, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var line struct {
			Sessions    int
			Dials, Ends map[string]int
		}
		if err := json.Unmarshal(s.Bytes(), &line); err != nil {
			return all, err
		}
		all = all.add(counts{line.Sessions, line.Dials, line.Ends})
	}
	return all, nil
}
