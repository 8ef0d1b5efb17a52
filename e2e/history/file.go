package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	// maxLine bounds a line of a file: a poll of a hundred thousand records.
	maxLine = 4 << 20
	// maxEvents bounds a file.
	maxEvents = 4 * DefaultLimit
)

// trailer is the last line of a file. A file without one was cut.
type trailer struct {
	Events  *int `json:"events"`
	Dropped int  `json:"dropped"`
}

// Write writes the history as JSON lines: one for each event, and a last one with
// their number.
func (h History) Write(w io.Writer) error {
	buffered := bufio.NewWriter(w)
	lines := json.NewEncoder(buffered)
	for i := range h.Events {
		if err := lines.Encode(&h.Events[i]); err != nil {
			return err
		}
	}
	n := len(h.Events)
	if err := lines.Encode(trailer{Events: &n, Dropped: h.Dropped}); err != nil {
		return err
	}
	return buffered.Flush()
}

// Read reads a file that Write has written. A file that ends early is an error.
func Read(r io.Reader) (History, error) {
	var h History
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for line := 1; lines.Scan(); line++ {
		var end trailer
		if err := json.Unmarshal(lines.Bytes(), &end); err != nil {
			return History{}, fmt.Errorf("line %d: %w", line, err)
		}
		if end.Events != nil {
			h.Dropped = end.Dropped
			if len(h.Events) != *end.Events {
				return History{}, fmt.Errorf("line %d: %d events, the last line says %d", line, len(h.Events), *end.Events)
			}
			return h, nil
		}
		e, err := ParseEvent(lines.Bytes())
		if err != nil {
			return History{}, fmt.Errorf("line %d: %w", line, err)
		}
		if len(h.Events) == maxEvents {
			return History{}, fmt.Errorf("line %d: more than %d events", line, maxEvents)
		}
		h.Events = append(h.Events, e)
	}
	return History{}, errors.Join(errors.New("the file has no last line with the number of its events"), lines.Err())
}

// ParseEvent reads a line.
func ParseEvent(line []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		return Event{}, err
	}
	if len(e.Numbers) != len(e.Offsets) || len(e.Sums) != len(e.Offsets) {
		return Event{}, fmt.Errorf("%d offsets, %d numbers, %d sums: want as many of each", len(e.Offsets), len(e.Numbers), len(e.Sums))
	}
	switch e.Type {
	case Join, Send, Sent, Begin, End, Ended, Assign, Revoke, Seek, Poll, Commit, Committed, Fetch, Fetched, Final:
		return e, nil
	default:
		return Event{}, fmt.Errorf("no event type %.20q", e.Type)
	}
}
