//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kproxy/e2e/lab"
	"kproxy/e2e/sockhash"
)

// agent puts every TCP socket of the campaign into an eBPF sockhash: those of the brokers, of
// kproxy, and of all clients. So do agents that observe or secure a machine. They attach their
// program to a cgroup; that of the campaign is its own, and has every process that it starts.
type agent struct {
	hash     *sockhash.Hash
	follower *sockhash.Follower
	leave    func() // the cgroup
}

func startAgent() (*agent, error) {
	cgroup, leave, err := sockhash.EnterCgroup()
	if err != nil {
		return nil, err
	}
	a := &agent{leave: leave}
	if a.hash, err = sockhash.New(sockhash.Passes); err == nil {
		a.follower, err = a.hash.Follow(cgroup)
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// Close leaves the cgroup, and makes the sockets ordinary ones.
func (a *agent) Close() {
	if a == nil {
		return
	}
	if a.hash != nil {
		a.hash.Close()
	}
	a.leave()
}

// lookAtCopies notes how much kproxy has copied because splice did not find the bytes, and checks
// that its log says so. It is for loads with large frames.
func (r *run) lookAtCopies(ctx context.Context) error {
	if r.agent == nil || r.kproxy == nil {
		return nil
	}
	metrics, err := r.kproxy.at.Get(ctx, adminBind, "/metrics")
	if err != nil {
		return err
	}
	hidden, err := lab.Value(metrics, "kproxy_splice_hidden_total")
	if err != nil {
		return err
	}
	if hidden == 0 {
		return errors.New("kproxy has spliced: its sockets were not in the sockhash")
	}
	r.note("%d directions copied", int(hidden))
	return lab.Poll(ctx, 10*time.Second, func() error { // kproxy looks every 5 s
		return r.kproxy.says("splice does not find the bytes of a connection")
	})
}

// tell says in the progress how many sockets were in the hash.
func (a *agent) tell(s *site) error {
	if a == nil {
		return nil
	}
	c, err := a.follower.Counts()
	if err != nil {
		return err
	}
	s.progress("%d sockets came into the sockhash, %d were refused", c.Added, c.Refused)
	if c.Refused > 0 || c.Added == 0 {
		return fmt.Errorf("the kernel has refused %d of %d sockets in the sockhash", c.Refused, c.Added+c.Refused)
	}
	return nil
}
