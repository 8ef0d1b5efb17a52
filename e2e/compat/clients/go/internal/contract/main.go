package contract

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"
)

// Exit codes.
const (
	exitDone       = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNotOffered = 3
)

// grace is the time for a work to end after its timeout, before the program ends without
// it.
const grace = 5 * time.Second

// Client is one library, as far as the contract goes. A nil function is not offered.
type Client struct {
	Name   string
	Module string // its Go module, whose version is the library's
	// Version overrides the module's version.
	Version func(ctx context.Context) (string, error)

	// NewProducer makes the producer of produce, session and tail.
	NewProducer func(context.Context, *Options) (Producer, error)
	// Consume is one member of the group: it calls each for every record
	// until ctx ends, and then commits, leaves and returns nil.
	Consume func(ctx context.Context, o *Options, instance string, each func(value []byte)) error
	// Addresses reports the brokers' addresses that the library got.
	Addresses func(context.Context, *Options, *Result) error

	Transaction Work
	Admin       Work
	Token       Work

	// Check names an option that the library does not offer.
	Check func(*Options) error
}

// Work does one work and reports it.
type Work func(context.Context, *Options, *Result) error

// NotOffered is the error of a work or an option that a library does not have.
type NotOffered string

func (n NotOffered) Error() string { return string(n) }

// Main runs the work that the command line asks for.
func Main(c Client) {
	o, err := parse(os.Args[1:], os.Stderr)
	r := newResult(c.Name, moduleVersion(c.Module), o.Work)
	if err != nil {
		finish(r, err, exitUsage)
	}
	limit := o.Timeout
	if o.Work == "session" || o.Work == "tail" {
		limit += o.Duration
	}
	// The program must end even if the library hangs.
	time.AfterFunc(limit+grace, func() {
		finish(r, fmt.Errorf("still not done %v after the timeout of %v", grace, limit), exitFailed)
	})
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err = c.run(ctx, &o, r)
	if _, no := errors.AsType[NotOffered](err); no {
		finish(r, err, exitNotOffered)
	}
	if err != nil {
		finish(r, err, exitFailed)
	}
	finish(r, nil, exitDone)
}

func finish(r *Result, err error, code int) {
	if err != nil {
		r.with(func(f *fields) {
			if code == exitNotOffered {
				f.NotOffered = err.Error()
			} else {
				f.Error = err.Error()
			}
		})
	}
	r.print(os.Stdout)
	os.Exit(code)
}

func (c *Client) run(ctx context.Context, o *Options, r *Result) error {
	if c.Version != nil {
		version, err := c.Version(ctx)
		if err != nil {
			return err
		}
		r.with(func(f *fields) { f.Version = version })
	}
	if o.Work == "version" {
		return nil
	}
	work, known := map[string]Work{
		"produce":     c.produce,
		"consume":     c.consume,
		"session":     c.session,
		"tail":        c.tail,
		"transaction": c.Transaction,
		"admin":       c.Admin,
		"token":       c.Token,
	}[o.Work]
	if !known {
		return fmt.Errorf("unknown work %q", o.Work)
	}
	if work == nil {
		return NotOffered(o.Work + ": the library has none")
	}
	if c.Check != nil {
		if err := c.Check(o); err != nil {
			return err
		}
	}
	err := work(ctx, o, r)
	if err == nil && c.Addresses != nil {
		if err := c.Addresses(ctx, o, r); err != nil {
			r.Detail("addresses_error", err.Error())
		}
	}
	return err
}

func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "unknown"
}
