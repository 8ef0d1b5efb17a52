//go:build linux

package main

import (
	"strings"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	straight := outcome{Acked: 1000, Pause: 4 * time.Second, Lost: 1, Findings: 2}
	for _, c := range []struct {
		name   string
		f      fault
		via    outcome
		good   bool
		says   string
		hashed bool
	}{
		{"the same", fault{}, outcome{Pause: 8 * time.Second, Lost: 1, Reasons: map[string]int{"broker_reset": 3}}, true, "same", false},
		{"a longer pause", fault{}, outcome{Pause: 9 * time.Second}, false, "near: a pause of 9.0 s, 8.0 s allowed", false},
		{"a longer pause of reading", fault{}, outcome{ReadPause: 3 * time.Second}, false, "near: a pause of reading of 3.0 s, 2.0 s allowed", false},
		{"a pause while kproxy was away", fault{Own: "it died"}, outcome{Pause: 9500 * time.Millisecond, Away: time.Second}, true, "as it must be: it died", false},
		{"a longer pause than kproxy was away", fault{Own: "it died"}, outcome{ReadPause: 3600 * time.Millisecond, Away: time.Second}, false, "reading of 3.6 s, 3.5 s allowed", false},
		{"a pause while brokers move", fault{Moves: &movement{}}, outcome{Pause: 5 * time.Second, Reasons: map[string]int{"broker_moved": 1}}, true, "same", false},
		{"a longer pause while brokers move", fault{Moves: &movement{}}, outcome{Pause: 6 * time.Second}, false, "near: a pause of 6.0 s, 5.0 s allowed", false},
		{"a pause in a sockhash", fault{}, outcome{Pause: 4900 * time.Millisecond, ReadPause: 900 * time.Millisecond, Lost: 1}, true, "same", true},
		{"a longer pause in a sockhash", fault{}, outcome{Pause: 5100 * time.Millisecond}, false, "near: a pause of 5.1 s, 5.0 s allowed", true},
		{"a longer pause of reading in a sockhash", fault{}, outcome{ReadPause: 1100 * time.Millisecond}, false, "reading of 1.1 s, 1.0 s allowed", true},
		{"a pause in a sockhash while kproxy was away", fault{Own: "it died"}, outcome{Pause: 9500 * time.Millisecond, ReadPause: 3500 * time.Millisecond, Away: time.Second}, true, "as it must be: it died", true},
		{"a longer pause in a sockhash than kproxy was away", fault{Own: "it died"}, outcome{Pause: 9600 * time.Millisecond, Away: time.Second}, false, "a pause of 9.6 s, 9.5 s allowed", true},
		{"a pause in a sockhash while kproxy runs out of files", fault{Own: "nothing"}, outcome{Pause: 5100 * time.Millisecond}, false, "a pause of 5.1 s, 5.0 s allowed", true},
		{"a pause in a sockhash while brokers move", fault{Moves: &movement{}}, outcome{Pause: 5 * time.Second, ReadPause: 2 * time.Second}, true, "same", true},
		{"a longer pause in a sockhash while brokers move", fault{Moves: &movement{}}, outcome{Pause: 5100 * time.Millisecond}, false, "near: a pause of 5.1 s, 5.0 s allowed", true},
		{"lost", fault{}, outcome{Lost: 2}, false, "lost 2, 1 direct", false},
		{"twice", fault{}, outcome{Twice: 1}, false, "twice in the log 1, 0 direct", false},
		{"not read", fault{}, outcome{Unread: 1}, false, "not read 1", false},
		{"a finding", fault{}, outcome{Findings: 1}, false, "findings of the history 1, 2 direct", false},
		{"refused", fault{}, outcome{Refused: map[string]int{"a": 1, "b": 1}}, false, "refused 2", false},
		{"past kproxy", fault{}, outcome{Others: []string{"broker-1.vpc.invalid:9092"}}, false, "1 dials of addresses that are not kproxy's", false},
		{"a reason that blames kproxy", fault{}, outcome{Reasons: map[string]int{"bad_answer": 1}}, false, "sessions closed as bad_answer: 1", false},
		{"the fault's own check", fault{}, outcome{Wrong: []string{"it did not heal"}}, false, "it did not heal", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := row{hashed: c.hashed, outcomes: map[place]*outcome{direct: &straight, near: &c.via}}
			r.judge(c.f)
			if r.Good != c.good || !strings.Contains(r.Verdict, c.says) {
				t.Errorf("got %v, %q; want %v, %q", r.Good, r.Verdict, c.good, c.says)
			}
			if r.Far != "—" {
				t.Errorf("a run that was not made: got %q", r.Far)
			}
		})
	}
}
