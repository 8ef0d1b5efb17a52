package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// syntaxMistake explains a syntax error of a file, with its place. The library's errors
// have two marks: the place where it noticed, and the beginning of the value that it was
// reading.
func syntaxMistake(data []byte, err error) *mistake {
	bad, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return &mistake{err: fmt.Errorf("not YAML: %s; correct it", strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	noticed, began := place{bad.Mark.Line, bad.Mark.Column}, place{bad.ContextMark.Line, bad.ContextMark.Column}
	if noticed == (place{}) { // the bytes themselves are wrong
		noticed = placeIn(data, bad.Mark.Index)
	}
	if end := placeIn(data, len(bytes.TrimRight(data, " \t\r\n"))); noticed.compare(end) > 0 {
		noticed = end // the library counts a line more
	}
	at, text := noticed, ""
	if tab, ok := indentingTab(data, began, noticed); ok && !strings.Contains(bad.ContextMsg, "quoted") {
		return &mistake{at: tab, err: errors.New("a tab in the indentation; indent with spaces, which alone YAML takes there")}
	}
	switch char := charAt(data, noticed); {
	case strings.Contains(bad.Message, "mapping values are not allowed"):
		return strayColon(data, noticed)
	case strings.Contains(bad.Message, "could not find expected ':'") && began.line > 0:
		return withoutColon(data, began)
	case strings.Contains(bad.Message, "did not find expected") && (char == "'}'" || char == "']'") && !strings.Contains(bad.ContextMsg, "flow"):
		return &mistake{at: noticed, err: fmt.Errorf("the %s closes nothing; delete it", char)}
	}
	for _, s := range syntaxErrors {
		if !strings.Contains(bad.Message, s.message) || !strings.Contains(bad.ContextMsg, s.context) {
			continue
		}
		if text = s.text; s.began && began != (place{}) {
			at = began
		}
		break
	}
	if strings.Contains(bad.Message, "node content") && len(bytes.TrimSpace(data[min(bad.Mark.Index, len(data)):])) == 0 {
		text = "the file ends where a value is missing, or a closing ] or }; write it"
	}
	if text == "" {
		text = "not YAML: " + bad.Message + "; correct it, or put quotes around the text"
	}
	return &mistake{at: at, err: errors.New(strings.ReplaceAll(text, "{char}", charAt(data, at)))}
}

// syntaxErrors are the explanations of the library's errors, by parts of their texts.
var syntaxErrors = []struct {
	message, context string
	began            bool // the mistake is where the construct begins
	text             string
}{
	{"unexpected end of stream", "quoted scalar", true, "the quote that opens here is not closed; close it, or leave it out"},
	{"unexpected document indicator", "quoted scalar", true, "the quote that opens here is not closed; close it, or leave it out"},
	{"unknown escape character", "", false, `a backslash in double quotes has a meaning of its own; write it twice, or use single quotes`},
	{"hexadecimal", "quoted scalar", false, `a backslash in double quotes has a meaning of its own; write it twice, or use single quotes`},
	{"',' or ']'", "", true, "the [ that opens here is not closed, or a comma is missing behind it; close it with ], and put quotes around texts with : { [ or #"},
	{"',' or '}'", "", true, "the { that opens here is not closed, or a comma is missing behind it; close it with }, and put quotes around texts with : { [ or #"},
	{"expected '-' indicator", "", false, "the line is neither an item of the list above nor a key beside it: its indentation is wrong; indent it as its neighbours are"},
	{"did not find expected key", "", false, "the line is not a key of the section above: its indentation is wrong; indent it as its neighbours are"},
	{"did not find expected <document start>", "", false, "the line does not belong to the lines above: its indentation is wrong; indent it as its neighbours are"},
	{"block sequence entries are not allowed", "", false, "a dash where no list can begin; begin the list in a line of its own"},
	{"cannot start any token", "", false, "a text cannot begin with {char}; put quotes around it"},
	{"alphabetic or numeric character", "alias", true, "a text that begins with * names an anchor; put quotes around it"},
	{"alphabetic or numeric character", "anchor", true, "a text that begins with & makes an anchor; put quotes around it"},
	{"unknown anchor", "", false, "a text that begins with * names an anchor (&name), and there is none of that name; put quotes around it"},
	{"did not find expected node content", "", false, "a value is missing here; write one, or take the sign before it away"},
	{"tag", "", false, "a text that begins with ! is a YAML tag; put quotes around it"},
	{"max depth", "", false, fmt.Sprintf("values are nested more than %d deep; write the keys that kproxy check --print-schema shows", maxNesting)},
	{"control characters", "", false, "a control character, which YAML does not take; delete it"},
	{"UTF-8", "", false, "bytes that are not UTF-8; save the file as UTF-8"},
	{"Unicode", "", false, "bytes that are not UTF-8; save the file as UTF-8"},
	{"UTF-16", "", false, "bytes that are not UTF-16; save the file as UTF-8"},
}

// strayColon explains a colon that can end no key.
func strayColon(data []byte, at place) *mistake {
	text := string(lineOf(data, at.line))
	indent := len(text) - len(strings.TrimLeft(text, " "))
	before := string([]rune(text)[:max(at.column-1, 0)])
	if strings.Contains(before, ": ") {
		return &mistake{at: at, err: errors.New("a second colon in the line; put quotes around a text that has a colon and a blank")}
	}
	for line := at.line - 1; line > 0 && line > at.line-maxLooked; line-- {
		above := string(lineOf(data, line))
		trimmed := strings.TrimLeft(above, " ")
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if len(above)-len(trimmed) == indent && !strings.Contains(trimmed, ": ") && !strings.HasSuffix(trimmed, ":") {
			return withoutColon(data, place{line, indent + 1})
		}
		break
	}
	return &mistake{at: place{at.line, indent + 1}, err: errors.New("the line is indented below one that has a value already; indent it as its neighbours are")}
}

// withoutColon explains a key that no colon ends.
func withoutColon(data []byte, at place) *mistake {
	text := "a key without a colon; write key: value"
	if bytes.Contains(lineOf(data, at.line), []byte(":")) {
		text = "a key whose colon has no blank behind it; write key: value"
	}
	return &mistake{at: at, err: errors.New(text)}
}

// maxLooked bounds the lines that are looked at for the one above.
const maxLooked = 100

// indentingTab finds the first tab that indents a line, among the lines that were being
// read.
func indentingTab(data []byte, began, noticed place) (place, bool) {
	first := noticed.line
	if began.line > 0 && began.line < first {
		first = began.line
	}
	line := 0
	for text := range bytes.Lines(data) {
		if line++; line < first {
			continue
		}
		if line > noticed.line {
			break
		}
		rest := bytes.TrimLeft(text, " \t")
		i := bytes.IndexByte(text[:len(text)-len(rest)], '\t')
		if i >= 0 && len(bytes.TrimSpace(rest)) > 0 {
			return place{line, i + 1}, true
		}
	}
	return place{}, false
}

// charAt returns the character at a place, in quotes.
func charAt(data []byte, at place) string {
	text := lineOf(data, at.line)
	for column := 1; column < at.column && len(text) > 0; column++ {
		_, size := utf8.DecodeRune(text)
		text = text[size:]
	}
	r, _ := utf8.DecodeRune(text)
	return fmt.Sprintf("%q", r)
}
