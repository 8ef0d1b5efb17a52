// Package tlslog logs the events of package tlsconf, which has no logger.
package tlslog

import (
	"log/slog"
	"time"

	"kproxy/internal/logkey"
	"kproxy/internal/tlsconf"
)

// Events logs the events of the files of a section's tls.
func Events(log *slog.Logger, section string) tlsconf.Events {
	return tlsconf.Events{
		Reloaded: func() {
			log.Info("certificates and keys have changed; new connections use the new ones")
		},
		Refused: func(err error) {
			log.Error("certificates and keys have changed and are no good; those from before are used on",
				slog.Any(logkey.Error, err), slog.String(logkey.Fix, "correct the files of "+section+".tls; they are looked at all the time"))
		},
		Expiring: func(c tlsconf.Certificate, left time.Duration) {
			text := "a certificate ends soon"
			if left <= 0 {
				text = "a certificate has ended"
			}
			log.Warn(text, slog.String(logkey.File, c.File), slog.String(logkey.Subject, c.Subject),
				slog.Time(logkey.Expires, c.NotAfter), slog.String(logkey.Fix, "renew it, and replace the file; no restart is needed"))
		},
	}
}
