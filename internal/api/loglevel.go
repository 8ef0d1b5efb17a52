package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// LogLevel is the body of /log-level, and of a request that changes it.
type LogLevel struct {
	Level string     `json:"level"`           // debug, info, warn or error
	Until *time.Time `json:"until,omitempty"` // when the configuration's level is back; missing: it is that one
	// ForSeconds is how long a changed level lasts; in a request alone. 0: ten minutes.
	ForSeconds float64 `json:"for_seconds,omitempty"`
}

// Limits of a changed level: a log at debug fills a disk.
const (
	defaultLevelTime = 10 * time.Minute
	maxLevelTime     = 24 * time.Hour
	maxLevelBody     = 4 << 10
)

// Levels is the log whose level is shown and changed.
type Levels interface {
	// Level returns the present level, and until when it lasts; the zero time: until the configuration
	// changes.
	Level() (level string, until time.Time)
	// SetLevel changes the level for a time. It reports whether there is such a level.
	SetLevel(level string, lasts time.Duration) bool
}

// logLevel serves /log-level.
type logLevel struct{ levels Levels }

func (l logLevel) get(w http.ResponseWriter, _ *http.Request) { l.respond(w) }

func (l logLevel) respond(w http.ResponseWriter) {
	level, until := l.levels.Level()
	write(w, http.StatusOK, LogLevel{Level: level, Until: timeOf(until)})
}

func (l logLevel) put(w http.ResponseWriter, r *http.Request) {
	const fix = `write {"level": "debug", "for_seconds": 600}`
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLevelBody))
	var asked LogLevel
	if err == nil {
		err = readLevel(body, &asked)
	}
	lasts := time.Duration(asked.ForSeconds * float64(time.Second))
	switch {
	case err != nil:
		write(w, http.StatusBadRequest, Problem{"the body is not as it should be: " + clean(err.Error()), fix})
	case !(asked.ForSeconds >= 0 && asked.ForSeconds <= maxLevelTime.Seconds()):
		write(w, http.StatusBadRequest, Problem{"for_seconds: it is no number from 0 to 86400", fix})
	default:
		if asked.ForSeconds == 0 {
			lasts = defaultLevelTime
		}
		if !l.levels.SetLevel(asked.Level, lasts) {
			write(w, http.StatusBadRequest, Problem{"level: there is no such level", "write debug, info, warn or error"})
			return
		}
		l.respond(w)
	}
}

// readLevel reads the body of a request. A key that it does not know is an error, and so is null: a time that is
// misspelt would be ten minutes.
func readLevel(body []byte, into *LogLevel) error {
	keys := map[string]any{}
	if err := json.Unmarshal(body, &keys); err != nil {
		return err
	}
	for key, value := range keys {
		if value == nil { // Unmarshal would leave it out
			return fmt.Errorf("%q is null", key)
		}
		if key != "level" && key != "for_seconds" {
			return fmt.Errorf("there is no such key as %q", key)
		}
	}
	return json.Unmarshal(body, into)
}
