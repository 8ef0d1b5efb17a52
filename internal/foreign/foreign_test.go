package foreign_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"kproxy/internal/foreign"
)

func TestLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"broker-1.internal", "broker-1.internal"},
		{"a\nlevel=ERROR msg=forged", `a\nlevel=ERROR msg=forged`},
		{"\x1b[2Jb", `\x1b[2Jb`},
		{"\xff\u202e", `\xff\u202e`},
		{strings.Repeat("x", 200), strings.Repeat("x", 200)},
		{strings.Repeat("x", 201), strings.Repeat("x", 199) + "…"},
		{"Köln", "Köln"},
	} {
		if got := foreign.Line(c.text); got != c.want {
			t.Errorf("Line(%q) = %q, want %q", c.text, got, c.want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("plain", 10)
	f.Add("\x1b]0;title\x07\r\n\xff", 3)
	f.Fuzz(func(t *testing.T, text string, most int) {
		most = 1 + max(most, 0)%1000
		got := foreign.LineOf(text, most)
		if n := utf8.RuneCountInString(got); n > most {
			t.Errorf("%d characters, want at most %d", n, most)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%q holds %q", got, got[i:])
		}
	})
}

func TestWithout(t *testing.T) {
	const secret = "pa\"ss\nword"
	for _, text := range []string{secret, `{"password": "pa\"ss\nword"}`} {
		if got := foreign.Without("it was "+text+", he said", secret); strings.Contains(got, "word, he") || strings.Contains(got, `pa\"ss`) {
			t.Errorf("%q still has the secret", got)
		}
	}
	if got := foreign.Without("abc", "a", ""); got != "abc" {
		t.Errorf("got %q: a secret that short is in every word", got)
	}
}

func TestErrorKeepsWhatIsBehindIt(t *testing.T) {
	err := foreign.Error(errors.Join(io.EOF, errors.New("the password is hunter22")), "hunter22")
	if !errors.Is(err, io.EOF) {
		t.Error("errors.Is does not find the wrapped error")
	}
	if got, want := err.Error(), `EOF\nthe password is [secret]`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := foreign.ErrorOf(io.EOF, 2).Error(); got != "E…" {
		t.Errorf("got %q", got)
	}
	if foreign.Error(nil) != nil || foreign.ErrorOf(nil, 9) != nil {
		t.Error("an error was made of none")
	}
}
