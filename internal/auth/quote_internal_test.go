package auth

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
)

// In whatever form a secret is repeated, it is removed completely.
func TestSecretsInAllForms(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{`s3cr3t-CL/<&'"q>-ient5`, "pässwörd/ßecret😀&x", "hunter22"} {
		asJSON, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		quoted := string(asJSON)
		said := map[string]string{
			"plain": secret, "Go": fmt.Sprintf("%q", secret), "Go's ASCII": fmt.Sprintf("%+q", secret),
			"JSON": quoted, "JSON in a quote": fmt.Sprintf("%q", quoted), "JSON's slashes": strings.ReplaceAll(quoted, "/", `\/`),
			"JSON in ASCII": inASCII(quoted, `\u%04x`), "HTML": html.EscapeString(secret),
			"hex": hex.EncodeToString([]byte(secret)), "HEX": fmt.Sprintf("%X", secret),
			"query": url.QueryEscape(secret), "path": url.PathEscape(secret),
			"lower case": percent.ReplaceAllStringFunc(url.QueryEscape(secret), strings.ToLower),
		}
		for _, user := range []string{"", "a", "ab", "abc", "abcd"} {
			for _, behind := range []string{"", "x", "xy"} {
				said["base64 behind "+user+" before "+behind] = base64.StdEncoding.EncodeToString([]byte(user + secret + behind))
				said["base64url behind "+user+" before "+behind] = base64.RawURLEncoding.EncodeToString([]byte(user + secret + behind))
			}
		}
		for name, text := range said {
			got := spoken("you sent "+text+".", forms(secret))
			rest := strings.TrimSuffix(strings.TrimPrefix(strings.Replace(got, "[secret]", "", 1), "you sent "), ".")
			most := 2 // quotes
			if strings.Contains(name, "quote") {
				most = 6
			}
			if strings.HasPrefix(name, "base64") {
				most = 13 // the part that depends on the characters around the secret
			}
			if !strings.Contains(got, "[secret]") || len(rest) > most {
				t.Errorf("%q as %s: %s", secret, name, got)
			}
		}
	}
}

// A parser that cuts a secret repeats a part of it.
func TestPartsOfSecrets(t *testing.T) {
	t.Parallel()
	secret := "s3cr3t-CL/ient~5/geheimer?" + "pässwörd#ab"
	_, err := url.Parse("https://id:" + secret + "@example.com/")
	if err == nil || !strings.Contains(err.Error(), "s3cr3t-CL") {
		t.Fatalf("got %v, want an error that repeats the secret's beginning", err)
	}
	for _, text := range []string{err.Error(), "s3cr3t-CL", "geheimer=1", "pässwörd", url.QueryEscape("pässwörd"), "ient~5"} {
		got := spokenError(fmt.Errorf("it says %s, and more", text), forms(secret)).Error()
		for _, part := range []string{"s3cr", "geheim", "pässw", "p%C3", "ient"} {
			if strings.Contains(got, part) {
				t.Errorf("%q is left of %q: %s", part, text, got)
			}
		}
	}
	if got := spoken("table ab", forms(secret)); got != "table ab" {
		t.Errorf("got %q: a part that short is in many words", got)
	}
	if n := len(parts(strings.Repeat("abcdef/", 1<<17))); n != maxParts {
		t.Errorf("a secret has %d parts, want %d", n, maxParts)
	}
}
