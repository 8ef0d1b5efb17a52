package auth

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"kproxy/internal/foreign"
)

// spoken returns the text of a broker or an endpoint for a log: on one line, bounded, and
// without the results of forms or encoded for secrets.
func spoken(text string, hidden []string) string {
	return foreign.Line(foreign.Without(text, hidden...))
}

// Quote returns another party's text for a log: on one line, bounded, and
// without the secrets, in any form in which they may be repeated.
func Quote(text string, secrets ...string) string { return spoken(text, forms(secrets...)) }

// QuoteError is Quote for an error.
func QuoteError(err error, secrets ...string) error { return spokenError(err, forms(secrets...)) }

// spokenError is [foreign.Error], for the same.
func spokenError(err error, hidden []string) error {
	return foreign.Error(err, hidden...)
}

// forms returns secrets and their parts in every form in which another party, or a
// parser that has cut them, may repeat them.
func forms(secrets ...string) []string {
	all := slices.Clone(secrets)
	for _, secret := range secrets {
		all = append(all, parts(secret)...)
	}
	return encoded(all...)
}

const (
	// minPart is the least length of a part of a secret that counts as secret: shorter
	// parts are common words.
	minPart = 6

	// maxParts bounds the parts of one secret.
	maxParts = 64
)

// parts splits a secret at the characters at which parsers of URLs, forms and headers
// cut.
func parts(secret string) (all []string) {
	for part := range strings.FieldsFuncSeq(secret, func(r rune) bool { return strings.ContainsRune("/?#@:&=%+ ", r) }) {
		if len(all) == maxParts {
			break
		}
		if part != secret && utf8.RuneCountInString(part) >= minPart {
			all = append(all, part)
		}
	}
	return all
}

// encoded returns each secret as it is, as part of a URL, of JSON and of HTML, in
// hexadecimal digits and in base64; the longest ones first, because they may hold
// others.
func encoded(secrets ...string) []string {
	var all []string
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		text := html.EscapeString(secret)
		digits := hex.EncodeToString([]byte(secret))
		all = append(all, secret, text, strings.NewReplacer("&#34;", "&quot;", "&#39;", "&#x27;").Replace(text),
			digits, strings.ToUpper(digits))
		for _, escaped := range []string{url.QueryEscape(secret), url.PathEscape(secret)} {
			all = append(all, escaped, percent.ReplaceAllStringFunc(escaped, strings.ToLower))
		}
		all = append(all, inJSON(secret)...)
		all = append(all, inBase64(secret)...)
	}
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(all)
}

var percent = regexp.MustCompile(`%[0-9A-F]{2}`)

// inJSON returns the secret as encoding/json writes it, and as others do: with "/"
// escaped, without HTML's characters escaped, and in ASCII.
func inJSON(secret string) []string {
	quoted, err := json.Marshal(secret)
	if err != nil {
		return nil
	}
	inner := string(quoted[1 : len(quoted)-1])
	plain := strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(inner)
	all := []string{inner, plain}
	for _, text := range []string{inner, plain} {
		all = append(all, inASCII(text, `\u%04x`), inASCII(text, `\u%04X`))
	}
	for _, text := range slices.Clone(all) {
		all = append(all, strings.ReplaceAll(text, "/", `\/`))
	}
	ascii := strconv.QuoteToASCII(secret) // Go's
	return append(all, ascii[1:len(ascii)-1])
}

// inASCII returns text with each UTF-16 unit beyond ASCII written by format.
func inASCII(text, format string) string {
	var b strings.Builder
	for _, r := range text {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			_, _ = fmt.Fprintf(&b, format, unit)
		}
	}
	return b.String()
}

// inBase64 returns the characters that depend on the secret alone in the encoding of a
// longer text, for example behind a user's name. If it begins a group of three bytes,
// these are all but the last.
func inBase64(secret string) (all []string) {
	for before := range 3 {
		text := append(make([]byte, before), secret...)
		first, last := (before*8+5)/6, len(text)*8/6
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all = append(all, encoding.EncodeToString(text)[first:last])
		}
	}
	whole := []byte(secret)
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		all = append(all, encoding.EncodeToString(whole))
	}
	return all
}

// sent returns the secrets in a token that was sent: the whole of it and, where it
// is JSON, each value. A broker could reuse AWS's signature.
func sent(token []byte) []string {
	all := []string{string(token)}
	var values map[string]string
	if json.Unmarshal(token, &values) == nil {
		for _, name := range []string{"x-amz-signature", "x-amz-security-token"} {
			all = append(all, values[name])
		}
	}
	return all
}
