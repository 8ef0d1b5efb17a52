//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct {
	out io.Writer                // nil: no terminal
	bar *progressbar.ProgressBar // nil: not before start
}

func newProgress(out io.Writer) *progress {
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return &progress{}
	}
	return &progress{out: out}
}

const clearLine = "\r\x1b[2K"

// start says how many turns there will be.
func (p *progress) start(turns int, estimate time.Duration) {
	if p.out == nil {
		return
	}
	// The worst that can happen is an ugly bar, here and below.
	_, _ = fmt.Fprintf(p.out, clearLine+"%d turns, about %v\n", turns, estimate)
	p.bar = progressbar.NewOptions(turns, progressbar.OptionSetWriter(p.out), progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionSetWidth(24), progressbar.OptionClearOnFinish())
}

// say shows the current step.
func (p *progress) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	switch {
	case p.bar != nil:
		p.bar.Describe(fmt.Sprintf("%-40s", text))
	case p.out != nil:
		_, _ = fmt.Fprint(p.out, clearLine+text)
	}
}

func (p *progress) step() {
	if p.bar != nil {
		_ = p.bar.Add(1)
	}
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
		_ = p.bar.Clear()
	}
}
