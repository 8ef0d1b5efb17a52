// Package logline writes log lines without blocking the caller. A log can block, for example
// a pipe that is not read. The code that accepts connections must not block with it.
package logline

import (
	"context"
	"log/slog"
	"sync"
)

// Queue writes log lines in their order, in a goroutine of its own, which exists only while
// there are lines. It is for code that accepts connections, and for code that holds a lock
// which that code needs. The zero value is ready.
type Queue struct {
	writing sync.WaitGroup

	mu    sync.Mutex // guards the following
	lines []Line
	busy  bool // the goroutine runs
}

// Line is a line of a log.
type Line struct {
	Log     *slog.Logger
	Level   slog.Level
	Message string
	Attrs   []slog.Attr
}

// maxLines bounds the lines that are kept for a log that blocks. An alarm writes one line
// a minute for each limit, so this is enough for hours.
const maxLines = 256

// Add queues a line. It does not wait. If maxLines lines are queued, it drops the line.
func (l *Queue) Add(line Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) >= maxLines {
		return
	}
	l.lines = append(l.lines, line)
	if !l.busy {
		l.busy = true
		l.writing.Go(l.write)
	}
}

func (l *Queue) write() {
	for {
		l.mu.Lock()
		if len(l.lines) == 0 {
			l.busy = false
			l.mu.Unlock()
			return
		}
		line := l.lines[0]
		l.lines = l.lines[1:]
		l.mu.Unlock()
		line.Log.LogAttrs(context.Background(), line.Level, line.Message, line.Attrs...)
	}
}

// Wait returns when all lines have been written.
func (l *Queue) Wait() { l.writing.Wait() }
