package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"kproxy/internal/doctor"
	"kproxy/internal/foreign"
)

// terminalOf returns the descriptor of a terminal.
func terminalOf(w io.Writer) (fd int, ok bool) {
	file, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(file.Fd())) {
		return 0, false
	}
	return int(file.Fd()), true
}

// styleOf is the style of a report to w: with colours on a terminal, unless NO_COLOR is set
// (https://no-color.org) or the terminal has none, and in its width.
func styleOf(w io.Writer) doctor.Style {
	fd, ok := terminalOf(w)
	if !ok {
		return doctor.Style{}
	}
	width, _, _ := term.GetSize(fd) // 0: not known
	return doctor.Style{Width: width, Color: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// progress shows the progress of an examination on stderr: one line that is redrawn on a
// terminal, and a line every few seconds elsewhere.
type progress struct {
	w      io.Writer
	redraw bool
	start  time.Time
	ended  chan struct{} // closed by end
	gone   sync.WaitGroup

	mu   sync.Mutex // guards the following, and w
	done int
	all  int
}

const (
	redrawTime = 200 * time.Millisecond
	plainTime  = 3 * time.Second
)

// newProgress starts to show progress. The caller must call end.
func newProgress(w io.Writer) *progress {
	_, isTerminal := terminalOf(w)
	p := &progress{w: w, redraw: isTerminal && os.Getenv("TERM") != "dumb", start: time.Now(), ended: make(chan struct{})}
	p.gone.Go(p.run)
	return p
}

func (p *progress) run() {
	interval := plainTime
	if p.redraw {
		interval = redrawTime
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-p.ended:
			return
		case <-tick.C:
			p.tell()
		}
	}
}

func (p *progress) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == 0 {
		return
	}
	line := fmt.Sprintf("kproxy: %d of %d addresses tried, %.1f s", p.done, p.all, time.Since(p.start).Seconds())
	if p.redraw {
		line = "\r\x1b[K" + line
	} else {
		line += "\n"
	}
	_, _ = io.WriteString(p.w, line)
}

// set sets how many addresses are done, of how many.
func (p *progress) set(done, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.all = done, all
}

// say writes a line of its own.
func (p *progress) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line = "kproxy: " + foreign.LineOf(line, maxErrorLine)
	if p.redraw {
		line = "\r\x1b[K" + line
	}
	_, _ = fmt.Fprintln(p.w, line)
}

// end stops, and clears the line that was redrawn.
func (p *progress) end() {
	close(p.ended)
	p.gone.Wait()
	if p.redraw {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
	}
}
