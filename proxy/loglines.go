package proxy

import (
	"context"
	"log/slog"
	"sync"
)

// logLines writes lines of the log in a goroutine of its own, in their order. What
// accepts connections, and what holds a lock that accepting needs, hands its lines
// here: a log that blocks, such as a pipe that is not read, then stops
// neither. The goroutine is there only while there are lines.
type logLines struct {
	writing sync.WaitGroup

	mu    sync.Mutex // guards the following
	lines []logLine
	busy  bool // the goroutine runs
}

type logLine struct {
	log     *slog.Logger
	level   slog.Level
	message string
	attrs   []slog.Attr
}

// maxLogLines bounds what is kept for a log that takes nothing. Alarms have a line a
// minute for each limit, so that it is hours of them.
const maxLogLines = 256

// add has a line written. Beyond maxLogLines it is dropped.
func (l *logLines) add(line logLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) >= maxLogLines {
		return
	}
	l.lines = append(l.lines, line)
	if !l.busy {
		l.busy = true
		l.writing.Go(l.write)
	}
}

func (l *logLines) write() {
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
		line.log.LogAttrs(context.Background(), line.level, line.message, line.attrs...)
	}
}

// wait returns when all lines have been written.
func (l *logLines) wait() { l.writing.Wait() }
