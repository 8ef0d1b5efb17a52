package connect

import (
	"errors"
	"fmt"
	"strings"
)

// parseJAAS reads the options of a login module, as sasl.jaas.config has it:
//
//	org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="p";
//
// The error does not quote it.
func parseJAAS(text string) (options map[string]string, err error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	words, err := jaasWords(text)
	if err != nil {
		return nil, err
	}
	if len(words) < 2 {
		return nil, errors.New("it is not a login module; write CLASS required name=\"value\" …;")
	}
	options = map[string]string{}
	for _, word := range words[2:] { // behind the class and "required"
		name, value, ok := strings.Cut(word, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("option %d is not name=\"value\"; write each option so, and put blanks between them", len(options)+1)
		}
		options[name] = value
	}
	return options, nil
}

// jaasWords splits at blanks, up to the semicolon. Quotes are as in Java's source: either
// kind, with backslashes; around = there may be blanks.
func jaasWords(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, wantsValue := false, false // the last was a = outside of quotes
	end := func() {
		if inWord {
			words = append(words, word.String())
			word.Reset()
			inWord = false
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case ' ', '\t', '\n', '\r':
			rest := strings.TrimLeft(text[i:], " \t\r\n")
			if !strings.HasPrefix(rest, "=") && !wantsValue {
				end()
			}
			i = len(text) - len(rest) - 1 // the last blank
		case ';':
			end()
			if strings.TrimSpace(text[i+1:]) != "" {
				return nil, errors.New("something stands behind its semicolon; keep one login module")
			}
			return words, nil
		case '"', '\'':
			value, n := quoted(text[i+1:], c)
			if n < 0 {
				return nil, errors.New("a quote is not closed; close it in front of the semicolon")
			}
			word.WriteString(value)
			inWord, wantsValue = true, false
			i += n
		default:
			word.WriteByte(c)
			inWord, wantsValue = true, c == '='
		}
	}
	return nil, errors.New("it does not end with a semicolon; add one")
}

// unescape returns the character that an escape stands for.
func unescape(c byte) byte {
	if at := strings.IndexByte("ntrbf", c); at >= 0 {
		return "\n\t\r\b\f"[at]
	}
	return c
}

// quoted reads up to the closing quote. n is how many bytes it and the text take; -1: it
// is not closed.
func quoted(text string, quote byte) (value string, n int) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote:
			return b.String(), i + 1
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(unescape(text[i]))
		default:
			b.WriteByte(c)
		}
	}
	return "", -1
}
