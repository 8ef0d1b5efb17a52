package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/rivo/uniseg"

	"kproxy/internal/speaks"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// hostile is a host name that a broker gives itself.
var hostile = "b0\nforged  row\x1b[31mred" + strings.Repeat("x", 32<<10)

// someReport is a report of a cluster with three nodes: one is good, one has a long name, one is
// hostile.
func someReport() *Report {
	err := errors.New("x")
	r := &Report{Heard: true, Brokers: 3, User: User{Addresses: []string{"b0:9092"}, Args: []string{"b0:9092"}}}
	add := func(f Finding) { r.Findings = append(r.Findings, f) }
	add(Finding{Node: proxy.NoNode, Address: "b0:9092", Failed: Arrived, Took: time.Millisecond, Taken: [Arrived]bool{true, true, false, true, false, false}})
	add(Finding{Node: 0, Address: "b0:9092", Failed: Arrived, Took: 1234 * time.Millisecond})
	fix := Fix{Text: strings.Repeat("a word or two ", 20), File: "server.properties of node 1", Properties: []string{"advertised.listeners=" + strings.Repeat("x", 120)}, Env: []string{"KAFKA_X=1"}, Docs: docsPorts, Notes: []string{noteHost}}
	add(Finding{Node: 1, Address: "ip-172-31-18-160.us-west-2.compute.internal:9092", Err: err, Failed: Connect, Verdict: Refused, Reason: strings.Repeat("because ", 30), Fix: fix, Connect: "b1:9092"})
	add(Finding{Node: 2, Address: hostile, Err: err, Failed: Kafka, Verdict: OtherThing, Reason: hostile, Fix: Fix{Text: hostile, Docs: docsServices}, Peer: speaks.Classify([]byte(hostile))})
	return r
}

// Lines end within the width, words, commands and lines for files are not broken, and no text
// of a peer breaks the layout.
func TestPrintFits(t *testing.T) {
	for _, width := range []int{0, 80, 140} {
		var out bytes.Buffer
		if err := someReport().Print(&out, Style{Width: width}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			line = strings.TrimSuffix(line, "\n")
			words := strings.Fields(line)
			if n := uniseg.StringWidth(line); n > max(width, usualWidth) && len(words) > 1 && !strings.HasPrefix(line, codeIndent) && !strings.Contains(line, "forged") {
				t.Errorf("%d: %d columns: %s", width, n, line)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.HasPrefix(line, "forged") {
				t.Errorf("%d: %.100q", width, line)
			}
		}
		if !strings.Contains(out.String(), "\n"+codeIndent+"advertised.listeners="+strings.Repeat("x", 120)+"\n") {
			t.Errorf("%d: the line for a file is broken:\n%s", width, out.String())
		}
		if out.Len() > 10<<10 {
			t.Errorf("%d: %d bytes", width, out.Len())
		}
	}
}

// Colours are the same text, painted.
func TestPrintColor(t *testing.T) {
	var plain, painted bytes.Buffer
	if err := errors.Join(someReport().Print(&plain, Style{Width: 100}), someReport().Print(&painted, Style{Width: 100, Color: true})); err != nil {
		t.Fatal(err)
	}
	if got := regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllString(painted.String(), ""); got != plain.String() {
		t.Errorf("got\n%s\nwant\n%s", got, plain.String())
	}
	if !strings.Contains(painted.String(), red+"FAIL"+normal) || strings.Contains(plain.String(), "\x1b") {
		t.Error("the colours are not where they should be")
	}
}

// Each row of the table has its address, on its own line where that is long.
func TestPrintTable(t *testing.T) {
	r := someReport()
	r.Findings = r.Findings[:2]
	var out bytes.Buffer
	if err := r.Print(&out, Style{}); err != nil {
		t.Fatal(err)
	}
	const want = `WHO        NAME  CONNECT  TLS  KAFKA  LOGIN  ITSELF  TOOK  ADDRESS
bootstrap  ok    ok       -    ok     -      -       1ms   b0:9092
node 0     -     -        -    -      -      -       1.2s  b0:9092

Every address works from here: a client of b0:9092 can use all 3 brokers.
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	r = someReport()
	r.Findings = r.Findings[2:3]
	if err := r.Print(&out, Style{}); err != nil {
		t.Fatal(err)
	}
	if want := "\n  ip-172-31-18-160.us-west-2.compute.internal:9092\n"; !strings.Contains(out.String(), want) {
		t.Errorf("there is no %q in\n%s", want, out.String())
	}
}

// Sections of docs/listeners.md that are linked are there.
func TestDocsAreThere(t *testing.T) {
	text, err := os.ReadFile("../../docs/listeners.md")
	if err != nil {
		t.Fatal(err)
	}
	var sections []string
	for _, m := range regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(string(text), -1) {
		slug := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		sections = append(sections, docs+"#"+strings.ReplaceAll(slug, " ", "-"))
	}
	for _, link := range allDocs {
		if !slices.Contains(sections, link) {
			t.Errorf("there is no %s in %q", link, sections)
		}
	}
}

// docs/doctor.md has the schema of --json, and each field and verdict that is printed.
func TestJSONSchema(t *testing.T) {
	text, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```json schema\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("there is no schema")
	}
	var schema map[string]any
	if err := json.Unmarshal(m[1], &schema); err != nil {
		t.Fatal(err)
	}
	defs, _ := schema["$defs"].(map[string]any)
	matches(t, "", schema, defs, reflect.TypeFor[document]())
	source, err := os.ReadFile("verdict.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t\w+ +Verdict = "(\w+)"`).FindAllSubmatch(source, -1) {
		if !bytes.Contains(text, append(append([]byte("| `"), m[1]...), '`')) {
			t.Errorf("docs/doctor.md does not have the verdict %s", m[1])
		}
	}
}

// matches compares a schema with a Go type.
func matches(t *testing.T, at string, schema, defs map[string]any, of reflect.Type) {
	t.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		schema, _ = defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	want := map[reflect.Kind]string{
		reflect.Bool: "boolean", reflect.String: "string", reflect.Int: "integer", reflect.Int32: "integer",
		reflect.Float64: "number", reflect.Slice: "array", reflect.Struct: "object", reflect.Map: "object",
	}[of.Kind()]
	if got := schema["type"]; got != want && !reflect.DeepEqual(got, []any{want, "null"}) {
		t.Errorf("%s: type %v, want %s", at, got, want)
		return
	}
	switch of.Kind() { //nolint:exhaustive // others have nothing inside
	case reflect.Slice:
		items, _ := schema["items"].(map[string]any)
		matches(t, at+"[]", items, defs, of.Elem())
	case reflect.Struct:
		properties, _ := schema["properties"].(map[string]any)
		known := map[string]bool{}
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			known[name] = true
			field, ok := properties[name].(map[string]any)
			if !ok {
				t.Errorf("%s.%s is not in the schema", at, name)
				continue
			}
			matches(t, at+"."+name, field, defs, of.Field(i).Type)
		}
		for name := range properties {
			if !known[name] {
				t.Errorf("%s.%s is in the schema, and not printed", at, name)
			}
		}
	}
}

// The output has the schema's required fields, also where a peer is hostile.
func TestJSON(t *testing.T) {
	var out bytes.Buffer
	if err := someReport().JSON(&out); err != nil {
		t.Fatal(err)
	}
	var got document
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Addresses) != 4 || got.Addresses[0].Node != nil || *got.Addresses[3].Node != 2 || got.Addresses[3].Speaks == nil || got.Addresses[1].Fix != nil {
		t.Errorf("got %+v", got)
	}
	if out.Len() > 10<<10 {
		t.Errorf("%d bytes", out.Len())
	}
}

// A missing login has its fix: a command, or the keys of the client's file.
func TestLoginFix(t *testing.T) {
	for _, tt := range []struct {
		user User
		want string
	}{
		{User{Args: []string{"b0:9092"}}, "kproxy doctor b0:9092 --sasl SCRAM-SHA-256 --username USER --password-file FILE"},
		{User{File: "f", TLS: &config.UpstreamTLS{}}, `security.protocol=SASL_SSL sasl.mechanism=SCRAM-SHA-256 sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="USER" password="SECRET";`},
		{User{File: "f", Librdkafka: true}, "security.protocol=SASL_PLAINTEXT sasl.mechanism=SCRAM-SHA-256 sasl.username=USER sasl.password=SECRET"},
	} {
		r := Report{User: tt.user, Heard: true, NeedsLogin: true, Mechanisms: []string{"GSSAPI", "PLAIN", "SCRAM-SHA-256"}}
		var text, js bytes.Buffer
		if err := errors.Join(r.Print(&text, Style{}), r.JSON(&js)); err != nil {
			t.Fatal(err)
		}
		var got document
		if err := json.Unmarshal(js.Bytes(), &got); err != nil || got.Fix == nil {
			t.Fatalf("%v\n%s", err, js.String())
		}
		lines := append(slices.Clone(got.Fix.Properties), got.Fix.Command)
		if said := strings.TrimSpace(strings.Join(lines, " ")); said != tt.want {
			t.Errorf("got %s, want %s", said, tt.want)
		}
		for _, line := range lines {
			if !strings.Contains(text.String(), line) {
				t.Errorf("%q is not in\n%s", line, text.String())
			}
		}
	}
}

// Lines for a broker's file have a note for users whose client bootstraps at kproxy: pasted into
// healthy brokers they would break a cluster. Lines for the client's file have none.
func TestLinesForBrokersSpareThoseBehindKproxy(t *testing.T) {
	lines := []string{"x=y"}
	if of := (&Fix{File: "server.properties of node 1", Properties: lines}).notes(); !slices.Contains(of, noteKproxy) {
		t.Errorf("a broker's lines have the notes %q", of)
	}
	if of := (&Fix{File: "client.properties", Properties: lines}).notes(); slices.Contains(of, noteKproxy) {
		t.Errorf("a client's lines have the notes %q", of)
	}
}
