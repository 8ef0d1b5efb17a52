package logline

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"kproxy/internal/logkey"
)

// Pacer bounds the log lines that peers cause: a broker can name a hundred thousand new
// nodes in each response. Dropped lines are counted, and the next line has their number.
// The zero value is ready.
type Pacer struct {
	once    sync.Once
	limiter *rate.Limiter
	leftOut atomic.Int64
}

// A burst is enough for learning a large cluster; after it comes one line in each
// interval.
const (
	pacerBurst    = 100
	pacerInterval = time.Second
)

// Admits reports whether a line may be logged now. The caller logs one then.
func (p *Pacer) Admits(log *slog.Logger) bool {
	p.once.Do(func() { p.limiter = rate.NewLimiter(rate.Every(pacerInterval), pacerBurst) })
	if !p.limiter.Allow() {
		p.leftOut.Add(1)
		return false
	}
	if n := p.leftOut.Swap(0); n > 0 {
		log.Warn("lines were left out: a peer causes too many", slog.Int64(logkey.LeftOut, n))
	}
	return true
}

// Log logs a line if the Pacer admits it.
func (p *Pacer) Log(log *slog.Logger, level slog.Level, message string, attrs ...slog.Attr) {
	if p.Admits(log) {
		log.LogAttrs(context.Background(), level, message, attrs...)
	}
}
