//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fault is something that breaks.
type fault struct {
	Name string
	Done string // the action, for the table
	// Act causes the fault and ends it. nil: there is no fault.
	Act func(context.Context, *run) error
	// Own says that the fault is kproxy's own, so that a direct client does not see it.
	// It describes the effect on kproxy's clients, and the reason.
	Own string
	// Java has Java's clients instead of franz-go.
	Java   bool
	Places []place // nil: everywhere
	Setup  func(*site) setup
	After  func(context.Context, *run) error // the check at the end; an error goes into the table
	// Moves has brokers move, instead of Act.
	Moves *movement
	// Alone makes the row by itself.
	Alone func(context.Context, *site) (row, error)
}

func (f fault) own() bool { return f.Own != "" }

func (f fault) places() []place {
	if f.Moves != nil {
		return []place{direct, near}
	}
	if f.Places == nil {
		return []place{direct, near, far}
	}
	return f.Places
}

func (f fault) setup(s *site) setup {
	switch {
	case f.Moves != nil:
		return f.Moves.setup()
	case f.Setup == nil:
		return setup{}
	default:
		return f.Setup(s)
	}
}

// seeds are a client's bootstrap addresses where there is no kproxy.
func (f fault) seeds() []string {
	if f.Moves != nil {
		return firstSeats(seats, f.Moves.clientPort())
	}
	return seeds()
}

func (f fault) after(ctx context.Context, r *run) error {
	if f.After == nil || r.kproxy == nil {
		return nil
	}
	return f.After(ctx, r)
}

// midFrame is a payload size that only a packet in the middle of a large frame has.
const midFrame = 1400

func killCoordinator(ctx context.Context, r *run) error {
	victim, err := r.coordinator(ctx)
	if err != nil {
		return err
	}
	return r.bounce(ctx, 15*time.Second, victim)
}

// faults are all of them, in the order of the table.
func faults() []fault {
	return slices.Concat([]fault{
		{
			Name: "nothing", Done: "nothing; the others are compared with it",
		}, {
			Name: "broker killed", Done: "kill -9 of the broker that coordinates the group, and is not the controller; started again after 15 s",
			Act: killCoordinator,
		}, {
			Name: "broker killed, Java", Done: "the same, to Java's clients",
			Java: true, Places: []place{direct, near}, Act: killCoordinator,
		}, {
			Name: "broker paused", Done: "SIGSTOP of the broker that coordinates the group, for 10 s; the sessions of brokers and group end after 6 s",
			Act: func(ctx context.Context, r *run) error {
				victim, err := r.coordinator(ctx)
				if err != nil {
					return err
				}
				b := r.cluster.Broker(victim)
				if err := b.Pause(); err != nil {
					return err
				}
				return errors.Join(wait(ctx, 10*time.Second), b.Resume())
			},
		}, {
			Name: "all brokers killed", Done: "kill -9 of all three; started again after 2 s",
			Act: func(ctx context.Context, r *run) error { return r.bounce(ctx, 2*time.Second, 1, 2, 3) },
		}, {
			Name: "connections reset", Done: "every connection on the link is reset in the middle of a frame of 100 KB, to both ends, five times in 10 s",
			Act: func(ctx context.Context, r *run) error {
				for range 5 {
					r.link.Reset(midFrame)
					if err := wait(ctx, 2*time.Second); err != nil {
						return err
					}
				}
				return nil
			},
		}, {
			Name: "half-open", Done: "all packets of the connections that are there are dropped on the link, for 20 s; new ones work",
			Act: func(ctx context.Context, r *run) error {
				r.link.Silence()
				return wait(ctx, 20*time.Second)
			},
		}, {
			Name: "loss", Done: "1 % of the packets on the link are lost, each way, for 12 s",
			Act: func(ctx context.Context, r *run) error {
				r.link.Lose(0.01)
				return wait(ctx, 12*time.Second)
			},
		}, {
			Name: "delay", Done: "the link takes 200 ms more, there and back together, for 12 s",
			Act: func(ctx context.Context, r *run) error {
				r.link.Delay(100 * time.Millisecond)
				return wait(ctx, 12*time.Second)
			},
		}, {
			Name: "loss and delay", Done: "both of these, for 12 s",
			Act: func(ctx context.Context, r *run) error {
				r.link.Lose(0.01)
				r.link.Delay(100 * time.Millisecond)
				return wait(ctx, 12*time.Second)
			},
		}, {
			Name: "link down", Done: "nothing passes the link for 20 s",
			Act: func(ctx context.Context, r *run) error {
				r.link.Cut()
				return wait(ctx, 20*time.Second)
			},
		}, {
			Name: "DNS fails", Done: "the brokers' names do not exist for 8 s, and every connection on the link is reset as that begins",
			Act: func(ctx context.Context, r *run) error {
				r.names.Set(nil)
				r.link.Reset(0)
				err := wait(ctx, 8*time.Second)
				r.resolve()
				return err
			},
		}, {
			Name: "DNS changes", Done: "a broker is stopped and comes back at another address; its name follows",
			Act: func(ctx context.Context, r *run) error {
				victim, err := r.coordinator(ctx)
				if err != nil {
					return err
				}
				return r.move(ctx, victim)
			},
		}, {
			Name: "rolling restart", Java: true, Places: []place{direct, near},
			Done: "Java: VerifiableProducer and two VerifiableConsumers in a group, while all brokers are restarted one by one, and kproxy is killed with -9 and started again twice",
			Act:  rollingRestart,
		},
	}, ownFaults(), movements())
}

// coordinator is the broker that coordinates the run's group.
func (r *run) coordinator(ctx context.Context) (int32, error) {
	found := r.cluster.Admin.FindGroupCoordinators(ctx, r.group)[r.group]
	return found.NodeID, found.Err
}

// pickGroup names the run's group such that its coordinator is not the cluster's
// controller. Without its controller the cluster takes twice as long to notice the loss
// of a broker, and the runs of a fault could not be compared.
func (r *run) pickGroup(ctx context.Context) error {
	quorum := kmsg.NewPtrDescribeQuorumRequest()
	quorum.Topics = []kmsg.DescribeQuorumRequestTopic{{
		Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}},
	}}
	described, err := quorum.RequestWith(ctx, r.cluster.Conn)
	if err != nil {
		return err
	}
	controller := described.Topics[0].Partitions[0].LeaderID
	for i := 0; ; i++ {
		r.group = fmt.Sprintf("%s-readers-%d", r.topic, i)
		at, err := r.coordinator(ctx)
		if err != nil || at != controller {
			return err
		}
	}
}

// move restarts a broker at its other address.
func (r *run) move(ctx context.Context, id int32) error {
	b := r.cluster.Broker(id)
	if err := b.Stop(); err != nil {
		return err
	}
	r.moved[int(id)] = !r.moved[int(id)]
	if err := b.Configure(); err != nil {
		return err
	}
	r.resolve()
	return errors.Join(b.Start(), r.cluster.WaitWhole(ctx))
}

// ownFaults are the faults of kproxy itself.
func ownFaults() []fault {
	const died = "the connections end with the process; clients connect again as soon as it is back"
	kill := func(ctx context.Context, r *run) error {
		return r.without(func() error {
			r.kproxy.proc.Kill()
			return errors.Join(wait(ctx, 3*time.Second), r.kproxy.Start(ctx))
		})
	}
	nearOnly := []place{direct, near}
	return []fault{
		{
			Name: "kproxy killed", Done: "kill -9 of kproxy; started again after 3 s, with its state file",
			Own: died, Places: nearOnly, Act: kill,
			After: func(_ context.Context, r *run) error { return r.kproxy.says("brokers remembered") },
		},
		{
			Name: "kproxy killed, no state", Done: "the same, without `state_dir`",
			Own: died, Places: nearOnly, Act: kill,
			Setup: func(*site) setup { return setup{NoState: true} },
		},
		{
			Name: "kproxy paused", Done: "SIGSTOP of kproxy for 10 s",
			Own: "nothing passes a process that stands still", Places: nearOnly,
			Act: func(ctx context.Context, r *run) error {
				return r.without(func() error {
					if err := r.kproxy.proc.Signal(syscall.SIGSTOP); err != nil {
						return err
					}
					return errors.Join(wait(ctx, 10*time.Second), r.kproxy.proc.Signal(syscall.SIGCONT))
				})
			},
		},
		portTaken(),
		filesUsedUp("files used up", "kproxy may open 128 files, and 300 clients connect and stay for 8 s; its own limit refuses the newest", 0),
		filesUsedUp("files used up, no limit", "the same, with `max_connections: 1000`, so that files do run out", 1000),
		diskFull(),
		clockSteps(),
	}
}

// without notes how long kproxy is away.
func (r *run) without(f func() error) error {
	began := time.Now()
	err := f()
	r.away = time.Since(began)
	return err
}
