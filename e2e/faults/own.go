//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
)

// portTaken starts kproxy while another process has the port of a node.
func portTaken() fault {
	f := fault{
		Name: "port taken",
		Done: "kproxy is started while another process listens at the port of node 2; then that process ends",
	}
	f.Alone = func(ctx context.Context, s *site) (row, error) {
		s.progress("%s", f.Name)
		r := row{Fault: f.Name, Done: f.Done, Run: s.run, Machine: s.machine}
		taken := lab.HostPort("127.0.0.1", firstNode+1)
		var other net.Listener
		if err := s.near.Inside(func() (err error) {
			other, err = (&net.ListenConfig{}).Listen(ctx, "tcp", taken)
			return err
		}); err != nil {
			return r, err
		}
		k, err := s.newKproxy(s.near, "127.0.0.1", setup{})
		if err != nil {
			return r, err
		}
		starting, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		cmd := k.at.Command(lab.Command(starting, k.Binary, "serve", "--config", k.config()))
		said, err := lab.Output(cmd)
		_ = other.Close()
		lines := strings.Split(strings.TrimSpace(said), "\n")
		last := strings.ReplaceAll(lines[len(lines)-1], k.dir+"/", "")
		switch {
		case err == nil:
			r.Verdict = "worse: kproxy serves without a port that it tells of"
		case !strings.Contains(last, taken):
			r.Verdict = "worse: the error does not name " + taken
		default:
			r.Good, r.Verdict = true, "as it must: no kproxy rather than one with a node missing"
		}
		r.Near = fmt.Sprintf("exit code %d: `%s`", cmd.ProcessState.ExitCode(), last)
		if err := k.Start(ctx); err != nil {
			r.Good, r.Verdict = false, "worse: it does not start when the port is free"
			return r, nil
		}
		r.Near += "<br>starts when the port is free"
		return r, k.Stop()
	}
	return f
}

const (
	fileLimit = 128
	flood     = 300
)

// filesUsedUp floods a kproxy with a low file limit.
func filesUsedUp(name, done string, maxConnections int) fault {
	return fault{
		Name: name, Done: done,
		Own: "clients that are there notice nothing", Places: []place{direct, near},
		Setup: func(*site) setup {
			return setup{
				MaxConnections: maxConnections,
				Wrap:           []string{"prlimit", fmt.Sprintf("--nofile=%d:%d", fileLimit, fileLimit)},
			}
		},
		Act: func(ctx context.Context, r *run) error {
			served, refused := r.flood(ctx, flood, 8*time.Second)
			r.note("of %d clients %d were answered, %d were not", flood, served, refused)
			if refused == 0 {
				return errors.New("the flood used up nothing")
			}
			return lab.Poll(ctx, 10*time.Second, func() error { return r.ping(ctx) })
		},
		After: func(ctx context.Context, r *run) error {
			r.note("afterwards new clients are served")
			return r.ping(ctx)
		},
	}
}

// ping connects a new client and asks.
func (r *run) ping(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(r.kproxy.endpoints()[0]), kgo.Dialer(r.kproxy.at.Dial))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return client.Ping(ctx)
}

// flood connects many clients that send a request and stay.
func (r *run) flood(ctx context.Context, n int, stay time.Duration) (served, refused int) {
	request := kmsg.NewRequestFormatter(kmsg.FormatterClientID("flood")).AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 1)
	leave := time.Now().Add(stay)
	connecting := make(chan struct{}, 20)
	ask := func() error {
		connecting <- struct{}{}
		conn, err := r.kproxy.at.Dial(ctx, "tcp", r.kproxy.endpoints()[0])
		<-connecting
		if err != nil {
			return err
		}
		time.AfterFunc(time.Until(leave), func() { _ = conn.Close() })
		if _, err := conn.Write(request); err != nil {
			return err
		}
		_, err = conn.Read(make([]byte, 4))
		return err
	}
	var wg sync.WaitGroup
	var responded atomic.Int64
	for range n {
		wg.Go(func() {
			if ask() == nil {
				responded.Add(1)
			}
		})
	}
	wg.Wait()
	_ = wait(ctx, time.Until(leave))
	served = int(responded.Load())
	return served, n - served
}

// diskFull leaves no room for the state file until the load has run for a while.
func diskFull() fault {
	fill := func(r *run) string { // in kproxy's own view of the files
		return filepath.Join(fmt.Sprintf("/proc/%d/root", r.kproxy.proc.PID()), r.kproxy.stateDir(), "fill")
	}
	// The disk is in the mount namespace that `ip netns exec` makes, and gone with it.
	const mount = `state=$(dirname "$4")/state; mount -t tmpfs -o size=64k tmpfs "$state"; ` +
		`head -c 1M /dev/zero 2>/dev/null >"$state/fill"; exec "$@"`
	return fault{
		Name:   "disk full",
		Done:   "`state_dir` is a disk of 64 KiB that is full when kproxy learns of the brokers; after 5 s there is room again",
		Own:    "records never wait for the state file",
		Places: []place{direct, near},
		Setup:  func(*site) setup { return setup{Wrap: []string{"sh", "-c", mount, "sh"}} },
		Act: func(ctx context.Context, r *run) error {
			if err := r.kproxy.says("the state file cannot be written"); err != nil {
				return err
			}
			if err := errors.Join(wait(ctx, 5*time.Second), os.Remove(fill(r))); err != nil {
				return err
			}
			return lab.Poll(ctx, 40*time.Second, func() error { return r.kproxy.says("the state file is written again") })
		},
		After: func(_ context.Context, r *run) error {
			state, err := os.ReadFile(filepath.Join(filepath.Dir(fill(r)), "vpc.json"))
			if err == nil && strings.Count(string(state), `"node"`) != brokers {
				err = fmt.Errorf("the state file does not have all brokers: %s", state)
			}
			if err == nil {
				r.note("kproxy said that the file could not be written, and wrote it within 30 s of there being room")
			}
			return err
		},
	}
}
