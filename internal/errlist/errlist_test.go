package errlist

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestOf(t *testing.T) {
	a, b, c := errors.New("a"), errors.New("b"), errors.New("c")
	wrapped := fmt.Errorf("x: %w", errors.Join(a, b))
	for _, tt := range []struct {
		name string
		err  error
		want []error
	}{
		{"nil", nil, nil},
		{"one", a, []error{a}},
		{"joined", errors.Join(a, nil, b), []error{a, b}},
		{"wrapped", wrapped, []error{wrapped}},
		{"joined again", Join(errors.Join(a, b), nil, c), []error{a, b, c}},
	} {
		if got := Of(tt.err); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	joined := errors.Join(a, b)
	Of(joined)[0] = c
	if joined.Error() != "a\nb" {
		t.Errorf("the joined error has changed: %v", joined)
	}
	if Join(nil, nil) != nil {
		t.Error("no errors are an error")
	}
}
