//go:build e2e

package decoders

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
	"kproxy/internal/kmsglab"
	"kproxy/rewrite"
)

// refusal is the response that refuses a request, and the errors in it by kmsg.
type refusal struct {
	key, version int16
	body         []byte // behind the response header
	errors       string
}

// TestRefusalsByJava has Kafka's own client decode the refusal of every API in every
// version that a listener can offer, and name its errors.
func TestRefusalsByJava(t *testing.T) {
	var all []refusal
	for key := range kmsglab.Keys() {
		if key == kmsg.ApiVersions.Int16() { // cannot be refused
			continue
		}
		for req := range kmsglab.Requests(key) {
			all = append(all, refuse(t, req))
		}
	}
	release, err := lab.NewRelease(t.Context(), lab.Newest)
	if err != nil {
		t.Fatal(err)
	}
	program := javaProgram(t, release, "Refusals")
	var lines strings.Builder
	for _, r := range all {
		fmt.Fprintf(&lines, "%d %d %x\n", r.key, r.version, r.body)
	}
	said := ask(t, program, lines.String(), len(all))
	read := 0
	for i, r := range all {
		if said[i] == "not offered" {
			continue
		}
		read++
		if said[i] != r.errors {
			t.Errorf("%s v%d: got %q, want %q", kmsg.NameForKey(r.key), r.version, said[i], r.errors)
		}
	}
	t.Logf("%d of %d responses are of versions that Kafka %s has", read, len(all), lab.Newest)
	if read < len(all)/2 {
		t.Errorf("responses that were read: got %d of %d", read, len(all))
	}
}

func refuse(t *testing.T, req kmsg.Request) refusal {
	t.Helper()
	key, version := req.Key(), req.GetVersion()
	payload, err := rewrite.Refusal(key, version, req.AppendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	resp := kmsg.ResponseForKey(key)
	resp.SetVersion(version)
	if resp.IsFlexible() {
		payload = payload[1:]
	}
	if err := resp.ReadFrom(payload); err != nil {
		t.Fatalf("%s v%d: kmsg: %v", kmsg.NameForKey(key), version, err)
	}
	names := map[string]bool{}
	errorsIn(reflect.ValueOf(resp), names)
	var sorted []string
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return refusal{key, version, payload, strings.Join(sorted, " ")}
}

// errorsIn collects the names of a message's errors.
func errorsIn(v reflect.Value, names map[string]bool) {
	switch v = reflect.Indirect(v); v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			errorsIn(v.Index(i), names)
		}
	case reflect.Struct:
		if code := v.FieldByName("ErrorCode"); code.IsValid() && code.Int() != 0 {
			names[kerr.TypedErrorForCode(int16(code.Int())).Message] = true
		}
		for _, f := range v.Fields() {
			if f.Kind() == reflect.Slice {
				errorsIn(f, names)
			}
		}
	default:
	}
}
