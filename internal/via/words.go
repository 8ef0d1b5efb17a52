package via

import (
	"errors"
	"fmt"
	"strings"
)

// errUnquoted says that a command uses a shell's features.
var errUnquoted = errors.New("no shell runs it")

// splitWords splits a command into words as a POSIX shell does: at blanks, with
// 'single quotes', "double quotes" and \backslashes.
//
// OpenSSH hands its ProxyCommand to the user's shell. Here there is no shell: the process
// is the command itself, so that a signal reaches it, and a name in its arguments is one
// argument, whatever characters it has. Features of a shell (variables, pipes, globs, ~)
// are an error unless they are quoted, because they would be passed on literally and seem
// to work. A user who wants a shell names it: exec:sh -c 'socat - TCP:"$HOP" …'.
func splitWords(command string) ([]string, error) {
	s := splitter{rest: command}
	for s.rest != "" {
		if err := s.next(); err != nil {
			return nil, err
		}
	}
	s.end()
	return s.words, nil
}

// splitter is a command that is read from the left.
type splitter struct {
	rest   string
	words  []string
	word   strings.Builder
	inWord bool
}

func (s *splitter) end() {
	if s.inWord {
		s.words = append(s.words, s.word.String())
		s.word.Reset()
		s.inWord = false
	}
}

func (s *splitter) add(text string) {
	s.word.WriteString(text)
	s.inWord = true
}

// next takes one character, or one quoted text.
func (s *splitter) next() error {
	c := s.rest[0]
	s.rest = s.rest[1:]
	switch c {
	case ' ', '\t', '\n':
		s.end()
	case '\'':
		text, rest, closed := strings.Cut(s.rest, "'")
		if !closed {
			return errors.New("a ' is not closed")
		}
		s.add(text)
		s.rest = rest
	case '"':
		return s.doubleQuoted()
	case '\\':
		if s.rest == "" {
			return errors.New(`it ends with a \`)
		}
		s.add(s.rest[:1])
		s.rest = s.rest[1:]
	case '|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?':
		return fmt.Errorf("%w, and %q stands in it unquoted", errUnquoted, c)
	case '~', '#':
		if !s.inWord {
			return fmt.Errorf("%w, and %q starts a word of it unquoted", errUnquoted, c)
		}
		s.add(string(c))
	default:
		s.add(string([]byte{c}))
	}
	return nil
}

// doubleQuoted takes text up to the closing quote.
func (s *splitter) doubleQuoted() error {
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; c {
		case '"':
			s.add("")
			s.rest = s.rest[i+1:]
			return nil
		case '$', '`':
			return fmt.Errorf("%w, and %q stands in double quotes; single quotes keep it", errUnquoted, c)
		case '\\':
			if i+1 < len(s.rest) && strings.IndexByte("\"\\$`", s.rest[i+1]) >= 0 {
				i++
			}
			s.add(s.rest[i : i+1])
		default:
			s.add(s.rest[i : i+1])
		}
	}
	return errors.New(`a " is not closed`)
}
