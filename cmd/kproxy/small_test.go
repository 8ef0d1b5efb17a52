//go:build small

package main

import (
	"strings"
	"testing"
)

// A kproxy with the build tag small refuses a configuration that needs a part which it does not link, and
// says so.
func TestSmall(t *testing.T) {
	for _, tt := range []struct{ config, want string }{
		{minimalFile + "\ntelemetry: {otlp: {endpoint: 'c:4317'}}\n", "telemetry.otlp.endpoint: this kproxy does not link OTLP; use a kproxy that is built without the tag small"},
		{strings.Replace(minimalFile, "listeners:", "tls: {}, sasl: {mechanism: AWS_MSK_IAM}, listeners:", 1), "sasl.mechanism: this program does not link AWS_MSK_IAM; use a kproxy that is built without the tag small"},
	} {
		if _, err := load(t, tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	if _, err := load(t, minimalFile); err != nil {
		t.Error(err)
	}
}
