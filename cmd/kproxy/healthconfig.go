package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kproxy/internal/foreign"
)

// configPoll is the time between two questions for the configuration in use. A ConfigMap of Kubernetes
// reaches kproxy a minute or two after it has changed.
const configPoll = time.Second

// usesConfiguration asks once whether the configuration in use is that of file. final says that a
// later question would not give another result.
func (h *health) usesConfiguration(ctx context.Context, file string) (final bool, err error) {
	a, err := h.readyz(ctx, "")
	if err != nil {
		return !mayPass(err), err
	}
	c := a.Configuration
	switch {
	case c == nil && len(a.Reasons) > 0:
		return false, notReady(a.Reasons)
	case c == nil && h.token != "":
		return true, fmt.Errorf("%s names no configuration: either it does not accept the token, which must be that of admin.token_file, or it runs without a file, as kproxy demo does, or it is older than this one", h.url)
	case c == nil:
		return true, fmt.Errorf("%s names no configuration: add --token-file if admin.token_file is set; otherwise it runs without a file, as kproxy demo does, or it is older than this one", h.url)
	case c.SHA256 == h.digest:
		return true, nil
	case c.NotApplied == nil:
		return false, errors.New("the configuration in use is not that of " + file + "; where it is mounted, see whether the change has reached kproxy's machine or pod; without reload.watch, kproxy reload applies it")
	default:
		return c.NotApplied.SHA256 == h.digest, h.notInUse(file, c.NotApplied.Reasons)
	}
}

// notInUse has a line for each reason why the configuration of file is not in use, up to maxReasons.
func (h *health) notInUse(file string, reasons []string) error {
	errs := []error{errors.New("the configuration in use is not that of " + file)}
	for _, reason := range reasons[:min(len(reasons), maxReasons)] {
		errs = append(errs, errors.New(foreign.LineOf(h.said(reason), maxReason)))
	}
	return errors.Join(errs...)
}
