package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// settle is how long a step that reads may take to see an earlier one's change: brokers
// learn of it one after the other.
const settle = 10 * time.Second

// Steps are a work's parts, each with its outcome among the details: "ok",
// "ok: the finding", "not offered: why" or "failed: why".
type Steps struct {
	ctx    context.Context
	r      *Result
	failed []string
}

// NewSteps reports to r.
func NewSteps(ctx context.Context, r *Result) *Steps { return &Steps{ctx: ctx, r: r} }

// Do is a step that is tried once.
func (s *Steps) Do(name string, step func() (found string, err error)) bool {
	found, err := step()
	return s.report(name, found, err)
}

// Look is a step that only reads, and is tried again while it fails.
func (s *Steps) Look(name string, step func() (found string, err error)) bool {
	end := time.Now().Add(settle)
	for {
		found, err := step()
		_, no := errors.AsType[NotOffered](err)
		if err == nil || no || time.Now().After(end) || sleep(s.ctx, 200*time.Millisecond) != nil {
			return s.report(name, found, err)
		}
	}
}

// NotOffered is a step that the library does not have.
func (s *Steps) NotOffered(name, why string) { s.report(name, "", NotOffered(why)) }

func (s *Steps) report(name, found string, err error) bool {
	outcome := "ok"
	_, no := errors.AsType[NotOffered](err)
	switch {
	case no:
		outcome = "not offered: " + err.Error()
	case err != nil:
		outcome = "failed: " + err.Error()
		s.failed = append(s.failed, fmt.Sprintf("%s: %v", name, err))
	case found != "":
		outcome = "ok: " + found
	}
	s.r.Detail(name, outcome)
	return err == nil
}

// Err says which steps failed.
func (s *Steps) Err() error {
	if len(s.failed) == 0 {
		return nil
	}
	return errors.New(strings.Join(s.failed, "; "))
}

// PickGroup is the group to describe: the one that was named, or any.
func PickGroup(o *Options, groups []string) string {
	if o.Group == "" && len(groups) > 0 {
		return slices.Min(groups)
	}
	return o.Group
}

// NoGroup reports that there is no group to describe.
func (s *Steps) NoGroup() { s.report("describe_group", "there is no group", nil) }
