// Package foreign prepares text that another party wrote (a broker, a client, an
// endpoint, a command, a library's error about one of these) for a person's screen
// and for a log. Such text may hold line breaks, terminal escapes, megabytes, or a
// secret that was sent to the other party.
package foreign

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLine is the most characters that Line keeps of a text.
const MaxLine = 200

// Line returns text as at most MaxLine characters on one line. Unprintable characters are
// escaped as in Go, and a cut is marked by "…".
func Line(text string) string { return LineOf(text, MaxLine) }

// LineOf is Line with another maximum, in characters; it must be at least 1.
func LineOf(text string, most int) string {
	if len(text) <= most && isPlain(text) {
		return strings.Clone(text) // it may be a part of a longer one, which would be kept with it
	}
	var b strings.Builder
	n := 0
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		piece := text[:size]
		if !unicode.IsPrint(r) || r == utf8.RuneError && size == 1 {
			quoted := strconv.Quote(piece)
			piece = quoted[1 : len(quoted)-1]
		}
		width := utf8.RuneCountInString(piece)
		rest := len(text) > size
		if n+width > most || n+width == most && rest {
			b.WriteString("…")
			break
		}
		b.WriteString(piece)
		n += width
		text = text[size:]
	}
	return b.String()
}

// isPlain reports whether text has printable ASCII characters alone.
func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// minSecret is the shortest secret that Without looks for: shorter texts occur in many
// words.
const minSecret = 4

// Without returns text with each of the secrets replaced by "[secret]". It finds a
// secret as it is and as Go or JSON quotes it. Secrets of fewer than 4 characters
// are not looked for. Call it before Line, which could cut a secret in two.
func Without(text string, secrets ...string) string {
	for _, secret := range secrets {
		if len(secret) < minSecret {
			continue
		}
		text = strings.ReplaceAll(text, secret, "[secret]")
		if quoted := strconv.Quote(secret); quoted[1:len(quoted)-1] != secret {
			text = strings.ReplaceAll(text, quoted[1:len(quoted)-1], "[secret]")
		}
	}
	return text
}

// Error returns an error whose text is Line of err's text without the secrets. It unwraps
// to err, for errors.Is and errors.As. It returns nil for nil.
func Error(err error, secrets ...string) error { return ErrorOf(err, MaxLine, secrets...) }

// ErrorOf is Error with another maximum, in characters, as LineOf has it.
func ErrorOf(err error, most int, secrets ...string) error {
	if err == nil {
		return nil
	}
	return &lineError{text: LineOf(Without(err.Error(), secrets...), most), err: err}
}

type lineError struct {
	text string
	err  error
}

func (e *lineError) Error() string { return e.text }
func (e *lineError) Unwrap() error { return e.err }
