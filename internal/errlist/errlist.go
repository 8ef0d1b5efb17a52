// Package errlist takes joined errors apart: each mistake in a configuration is an error of
// its own.
package errlist

import "errors"

// Of returns the errors that err joins, or err alone; nothing for nil. An error that wraps a
// joined one is one error. The slice is the caller's.
func Of(err error) []error {
	type joined interface {
		error
		Unwrap() []error
	}
	if err == nil {
		return nil
	}
	if j, ok := err.(joined); ok { //nolint:errorlint // a wrapped error belongs to the error that wraps it
		return append([]error(nil), j.Unwrap()...)
	}
	return []error{err}
}

// Join joins errors, and those that they join, in one; nil if there is none.
func Join(errs ...error) error {
	var all []error
	for _, err := range errs {
		all = append(all, Of(err)...)
	}
	return errors.Join(all...)
}
