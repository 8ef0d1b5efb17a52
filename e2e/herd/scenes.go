//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// Bounds of the memory that one client may cost, at any moment: about twice the measured
// figure, because Go's heap doubles before it is collected.
const (
	waiting  = 64 << 10  // before its first request, or in its handshake
	admitted = 128 << 10 // with TLS and a broker's connection
	passing  = 4 << 10   // of a flood: few are still there when the next one comes
	greeting = 32 << 10  // of a flood in which every second one waits for its handshake
)

// scenes are all of them, in the order of the page.
func scenes(n size) []*scene {
	limits := fmt.Sprintf("first_request_timeout: %[1]v, handshake_timeout: %[1]v", dawdling)
	return append([]*scene{
		{
			Name: "Clients that dawdle over a request", Limits: limits, PerClient: waiting, Closed: []string{"first_request_timeout"},
			Done: fmt.Sprintf("%d clients of the plaintext listener send a byte of a request every second.", n.Dawdlers),
			Act: func(ctx context.Context, st *stage) error {
				return st.dawdle(ctx, st.kproxy.plain, longRequest(), "first_request_timeout")
			},
		},
		{
			Name: "Clients that dawdle over a hello", Limits: limits, PerClient: waiting, Closed: []string{"tls_timeout"},
			Done: fmt.Sprintf("%d clients of the TLS listener send a byte of a hello every second.", n.Dawdlers),
			Act: func(ctx context.Context, st *stage) error {
				return st.dawdle(ctx, st.kproxy.tls, hello(ctx), "tls_timeout")
			},
		},
		{
			Name: "Half handshakes", Limits: limits, PerClient: waiting, Closed: []string{"tls_timeout"},
			Done: fmt.Sprintf("%d clients of the TLS listener send a whole hello, get the response, and send nothing more.", n.Dawdlers),
			Act:  func(ctx context.Context, st *stage) error { return st.halfShake(ctx) },
		},
		{
			Name: "A flood of connects", PerClient: passing, Closed: []string{"no_request", "client_reset"},
			Done: fmt.Sprintf("For %v eight clients of the plaintext listener connect and leave as fast as they can, half of them by a reset.", n.Flood),
			Act:  func(ctx context.Context, st *stage) error { return st.flood(ctx, st.kproxy.plain, nil) },
		},
		{
			Name: "A flood of connects in TLS", PerClient: greeting, Closed: []string{"no_request", "client_reset", "tls_closed"},
			Done: "The same at the TLS listener, and every second client sends a hello first.",
			Act:  func(ctx context.Context, st *stage) error { return st.flood(ctx, st.kproxy.tls, hello(ctx)) },
		},
		{
			Name: "More than max_connections", Limits: fmt.Sprintf("max_connections: %d", n.Most), PerClient: admitted, Closed: []string{"too_many_connections"},
			Done:    fmt.Sprintf("All of `limits.max_connections: %d` are used, and as many more come, to both listeners.", n.Most),
			Prepare: func(ctx context.Context, st *stage) error { return st.gather(ctx, n.Most-2, false) },
			Act:     func(ctx context.Context, st *stage) error { return st.overflow(ctx, n.Most) },
		},
		herd("A herd, cut off", fmt.Sprintf("%d idle clients in TLS are cut off by resets, and come back at once, %d times.", n.Herd, n.Rounds), false, false),
		herd("A herd with tickets, cut off", "The same, and they resume their TLS sessions.", true, false),
		herd("A herd, kproxy killed", "kproxy is killed (-9) and started again at once, and the same clients come back.", false, true),
		bareHerd("The herd at a bare TLS server", "The same clients are cut off from crypto/tls and nothing else, in a process of its own, while kproxy has no part in it.", false),
		bareHerd("The herd with tickets at a bare TLS server", "The same, and they resume their TLS sessions.", true),
	}, hoards(n)...)
}

// herd is a crowd that is cut off and comes back.
func herd(name, done string, resume, kill bool) *scene {
	return &scene{
		Name: name, Done: done, Kills: kill, Resumes: resume, PerClient: admitted, Closed: []string{"client_reset"},
		Prepare: func(ctx context.Context, st *stage) error { return st.gather(ctx, st.Herd, resume) },
		Act:     func(ctx context.Context, st *stage) error { return st.comeBack(ctx, kill) },
	}
}

// bareHerd is the same without kproxy: the cost of the machine and of the clients' own
// half of the handshakes.
func bareHerd(name, done string, resume bool) *scene {
	var c *crowd
	return &scene{
		Name: name, Done: done, PerClient: waiting, Bare: true, Resumes: resume,
		Prepare: func(ctx context.Context, st *stage) (err error) {
			c = newCrowd(st.bareDoor, st.Herd, resume)
			_, err = c.come(ctx, time.Now())
			return err
		},
		Act: func(ctx context.Context, st *stage) error {
			defer c.leave()
			for range st.Rounds {
				began := time.Now()
				c.cut()
				if err := st.arrive(ctx, c, began); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
