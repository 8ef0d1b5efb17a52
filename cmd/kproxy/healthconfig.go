package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// configPoll is the time between two questions for the configuration in use.
const configPoll = time.Second

// awaitConfiguration waits until the configuration in use is that of file, whose digest is h's. A
// ConfigMap of Kubernetes reaches kproxy a minute or two after it has changed. reasons say that it is
// not applied: kproxy has refused it, or holds it back, or ctx has ended.
func (h *health) awaitConfiguration(ctx context.Context, file string) (reasons []string, err error) {
	var last []string
	for {
		a, err := h.readyz(ctx, "")
		timedOut := errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil
		switch c := a.Configuration; {
		case timedOut && last != nil:
			return last, nil
		case err != nil || len(a.Reasons) > 0:
			return a.Reasons, err
		case c == nil:
			return nil, fmt.Errorf("%s names no configuration: add --token-file if admin.token_file is set; otherwise the kproxy there is older than this one", h.url)
		case c.SHA256 == h.digest:
			return nil, nil
		default:
			last = []string{"the configuration in use is not that of " + file + "; where it is mounted, see whether the change has reached kproxy's machine or pod"}
			if c.NotApplied != nil {
				last = last[:0]
				for _, reason := range c.NotApplied.Reasons {
					last = append(last, h.said(reason))
				}
				if c.NotApplied.SHA256 == h.digest {
					return last, nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return last, nil
		case <-time.After(configPoll):
		}
	}
}
