//go:build e2e

package decoders

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
	"kproxy/internal/kmsglab"
	"kproxy/rewrite"
)

// TestRefusalsByJava has Kafka's own client decode the refusal of every API in every
// version that a listener can offer, and name its errors.
func TestRefusalsByJava(t *testing.T) {
	var all []frame
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
	check(t, all, javaProgram(t, release, "Refusals"))
}

// refuse makes the response that refuses a request. It names the errors in it by kmsg.
func refuse(t *testing.T, req kmsg.Request) frame {
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
	return frame{
		api: strconv.Itoa(int(key)), version: version, body: payload,
		named: strings.Join(sorted, " "),
		what:  fmt.Sprintf("%s v%d", kmsg.NameForKey(key), version),
	}
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
