package main

import (
	"bytes"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"kproxy/internal/logkey"
)

const (
	// maxQueuedLines and maxQueuedBytes bound the lines that wait for their writer.
	maxQueuedLines = 4096
	maxQueuedBytes = 4 << 20

	// roomWait is how long the first line that finds the queue full waits.
	roomWait = 50 * time.Millisecond

	// flushWait is how long close waits for the remaining lines.
	flushWait = time.Second
)

// logQueue writes lines in a goroutine of its own, in their order, so that a writer that
// blocks, such as a pipe that is not read, does not block the callers. A line that finds
// the queue full waits for roomWait. If there is no room by then, it is dropped, and so
// are those behind it until half of the queue is free. Then a line has the number of
// dropped ones.
type logQueue struct {
	w     io.Writer
	left  func(lines int) []byte // makes that line
	wake  chan struct{}          // holds an element when there may be lines
	room  chan struct{}          // holds an element when there may be room
	ended chan struct{}          // closed when all lines have been written

	turn sync.Mutex // orders those that write

	mu      sync.Mutex // guards the following
	lines   [][]byte
	size    int // of lines, in bytes
	dropped int // since the queue was full
	closed  bool
}

// newLogQueue returns a queue for a log with settings. It must be closed.
func newLogQueue(w io.Writer, settings *logSettings) *logQueue {
	var line bytes.Buffer
	logger := slog.New(newLogHandler(&line, slog.LevelWarn, settings)) // missing lines are reported at every level
	q := &logQueue{
		w: w,
		left: func(lines int) []byte {
			line.Reset()
			logger.Warn("lines were left out: the log was not read in time", slog.Int(logkey.LeftOut, lines))
			return slices.Clone(line.Bytes())
		},
		wake:  make(chan struct{}, 1),
		room:  make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
	go q.run()
	return q
}

// Write queues a line, or drops it. It never fails.
func (q *logQueue) Write(line []byte) (int, error) {
	q.turn.Lock()
	defer q.turn.Unlock()
	kept := slices.Clone(line)
	if q.add(kept, false) {
		return len(line), nil
	}
	timer := time.NewTimer(roomWait)
	defer timer.Stop()
	for {
		select {
		case <-q.room:
			if q.add(kept, false) {
				return len(line), nil
			}
		case <-timer.C:
			q.add(kept, true)
			return len(line), nil
		}
	}
}

// add queues a line, or counts it while lines are dropped. It reports false if it has
// done neither: the queue is full, and drop is not set.
func (q *logQueue) add(line []byte, drop bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	full := len(q.lines) >= maxQueuedLines || len(q.lines) > 0 && q.size+len(line) > maxQueuedBytes
	switch {
	case q.closed:
	case q.dropped > 0 || full && drop:
		q.dropped++
	case full:
		return false
	default:
		q.append(line)
	}
	return true
}

func (q *logQueue) append(line []byte) {
	q.lines = append(q.lines, line)
	q.size += len(line)
	signalTo(q.wake)
}

// take returns the next line; nil: there is none.
func (q *logQueue) take() (line []byte, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dropped > 0 && len(q.lines) <= maxQueuedLines/2 && q.size <= maxQueuedBytes/2 {
		q.append(q.left(q.dropped))
		q.dropped = 0
	}
	if len(q.lines) == 0 {
		return nil, q.closed
	}
	line, q.lines[0] = q.lines[0], nil
	q.lines = q.lines[1:]
	q.size -= len(line)
	signalTo(q.room)
	return line, false
}

func (q *logQueue) run() {
	defer close(q.ended)
	for {
		line, closed := q.take()
		switch {
		case line != nil:
			_, _ = q.w.Write(line) // the failure cannot be reported anywhere
		case closed:
			return
		default:
			<-q.wake
		}
	}
}

// close waits for the remaining lines, for flushWait at most. Later ones are dropped.
func (q *logQueue) close() {
	q.mu.Lock()
	q.closed = true
	signalTo(q.wake)
	q.mu.Unlock()
	within(flushWait, q.ended)
}

// within waits until done is closed, for d at most.
func within(d time.Duration, done <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

func signalTo(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is signalled
	}
}
