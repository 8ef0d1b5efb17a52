package via

import (
	"slices"
	"strings"
	"testing"
)

func TestSplitWords(t *testing.T) {
	tests := []struct {
		command string
		want    []string
	}{
		{"", nil},
		{"  a\tb \n c ", []string{"a", "b", "c"}},
		{`a 'b c' "d e" f\ g`, []string{"a", "b c", "d e", "f g"}},
		{`'' ""`, []string{"", ""}},
		{`a'b'"c"\d`, []string{"abcd"}},
		{`'$(x) | "' "a'b" "\"\\\$\n"`, []string{`$(x) | "`, "a'b", `"\$\n`}},
		{`{"h":"{host}"}`, []string{"{h:{host}}"}},
		{"a~b a#b ü", []string{"a~b", "a#b", "ü"}},
	}
	for _, tt := range tests {
		got, err := splitWords(tt.command)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, %v; want %q", tt.command, got, err, tt.want)
		}
	}
	for _, command := range []string{"'", `"`, `"\`, `\`, "a | b", "a;b", "a&", "$A", `"$A"`, "`a`", `"` + "`", "a > b", "~/a", "# a", "a *", "(a)"} {
		if got, err := splitWords(command); err == nil {
			t.Errorf("%s: got %q, want an error", command, got)
		}
	}
}

// Words in single quotes come back as they were.
func FuzzSplitWords(f *testing.F) {
	f.Add("kubectl exec -i 'a b' -- {host}")
	f.Add(`"a\"b" $x`)
	f.Fuzz(func(t *testing.T, command string) {
		words, err := splitWords(command)
		if err != nil {
			return
		}
		var quoted []string
		for _, word := range words {
			quoted = append(quoted, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
		}
		again, err := splitWords(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(again, words) {
			t.Errorf("%q: got %q, %v; want %q", command, again, err, words)
		}
	})
}

// A text that is accepted as a host has no meaning to a shell, and is no option.
func FuzzParseTarget(f *testing.F) {
	f.Add("broker-1.internal:9092")
	f.Add("[2001:db8::1]:9092")
	f.Add("-oProxyCommand=id:1")
	f.Fuzz(func(t *testing.T, address string) {
		got, err := parseTarget(address)
		if err != nil {
			return
		}
		const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:"
		if got.Host == "" || got.Host[0] == '-' || strings.Trim(got.Host, plain) != "" || got.Port < 1 || got.Port > 65535 {
			t.Errorf("%q passes as %+v", address, got)
		}
		if again, err := parseTarget(got.String()); err != nil || again != got {
			t.Errorf("%q: got %+v, %v; want %+v", got, again, err, got)
		}
	})
}
