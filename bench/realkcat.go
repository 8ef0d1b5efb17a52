//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// kcat is the client of librdkafka in Debian. It is no performance tool: its time is that of the
// whole process, and it has no rate and no latencies. rdkafka_performance is in no package.
type kcat struct {
	version string
	dir     string   // of the files with the records
	secure  []string // properties of TLS
}

func newKcat(ctx context.Context, dir string, secure []string) (*kcat, error) {
	path, err := exec.LookPath("kcat")
	if err != nil {
		return nil, errors.New("kcat is not installed (Debian: apt-get install kcat)")
	}
	out, _ := exec.CommandContext(ctx, path, "-V").CombinedOutput() // it ends with 1
	_, version, found := strings.Cut(string(out), "Version ")
	if !found {
		return nil, fmt.Errorf("kcat -V: %s", out)
	}
	version, _, _ = strings.Cut(version, "\n")
	return &kcat{version: "kcat " + strings.TrimSpace(version), dir: dir, secure: secure}, nil
}

// produce sends a load's records from a file, a record a line.
func (k *kcat) produce(ctx context.Context, address perfAddress, l realLoad, megabytes, _ int) (perfResult, error) {
	n := l.records(megabytes)
	file, err := k.records(l, n)
	if err != nil {
		return perfResult{}, err
	}
	return k.run(ctx, address, n*l.size, "-P", "-t", l.topic(), "-l", file)
}

// consume reads as many of a topic's records as a load has.
func (k *kcat) consume(ctx context.Context, address perfAddress, l realLoad, megabytes int) (perfResult, error) {
	n := l.records(megabytes)
	return k.run(ctx, address, n*l.size, "-C", "-q", "-t", l.topic(), "-o", "beginning", "-c", strconv.Itoa(n), "-f", "")
}

// records returns a file with n records, which it makes at first.
func (k *kcat) records(l realLoad, n int) (string, error) {
	file := filepath.Join(k.dir, fmt.Sprintf("%s-%d.txt", l.name, n))
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	text := make([]byte, 0, n*(l.size+1))
	source := rand.New(rand.NewPCG(1, uint64(l.size))) // they do not compress, and are the same in each run
	for range n {
		for range l.size {
			text = append(text, byte('!'+source.IntN('~'-'!'+1)))
		}
		text = append(text, '\n')
	}
	return file, os.WriteFile(file, text, 0o600)
}

func (k *kcat) run(ctx context.Context, address perfAddress, bytes int, args ...string) (perfResult, error) {
	ctx, cancel := context.WithTimeout(ctx, perfTimeout)
	defer cancel()
	args = append(args, "-b", address.bootstrap)
	if address.tls {
		for _, property := range k.secure {
			args = append(args, "-X", property)
		}
	}
	cmd := exec.CommandContext(ctx, "kcat", args...)
	began := time.Now()
	if _, err := lab.Output(cmd); err != nil {
		return perfResult{}, err
	}
	return perfResult{bytes: int64(bytes), took: time.Since(began), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

// kcatTLS are the properties of librdkafka's TLS.
func kcatTLS(keys *keyFiles) []string {
	if keys == nil {
		return nil
	}
	return []string{"security.protocol=ssl", "ssl.ca.location=" + keys.Cert}
}
