package proxy

import (
	"fmt"
	"testing"
	"time"
)

// A refusal has a line a minute, and any number of client.ids has a bounded number of lines.
func TestRefusalsAreLimited(t *testing.T) {
	var r refusals
	now := time.Now()
	of := refusal{key: 22, client: "billing"}
	for _, tt := range []struct {
		after time.Duration
		of    refusal
		want  bool
	}{
		{0, of, true},
		{0, of, false},
		{0, refusal{key: 0, client: "billing"}, true},
		{refusalInterval - 1, of, false},
		{refusalInterval, of, true},
		{refusalInterval, of, false},
	} {
		if got := r.due(tt.of, now.Add(tt.after)); got != tt.want {
			t.Errorf("after %v, %+v: got %t", tt.after, tt.of, got)
		}
	}
	lines := 0
	for i := range 1000 {
		if r.due(refusal{client: fmt.Sprint(i)}, now.Add(2*refusalInterval)) {
			lines++
		}
	}
	if lines != maxRefusals || len(r.last) != maxRefusals {
		t.Errorf("1,000 clients have %d lines, %d are kept; want %d", lines, len(r.last), maxRefusals)
	}
}
