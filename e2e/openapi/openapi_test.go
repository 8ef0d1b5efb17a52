//go:build e2e

// Package openapi has schemathesis test the API of a running kproxy: every request that its OpenAPI document
// allows, and many that it does not, must have a response that the document has.
package openapi

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
	"kproxy/internal/kfakelab"
)

const token = "0123456789abcdef0123456789abcdef"

// TestAPI takes the seed of the requests from E2E_SEED, and how many there are of each path and kind from
// E2E_EXAMPLES.
func TestAPI(t *testing.T) {
	python, err := lab.Python(t.Context(), "requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := lab.BuildKproxy(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		hasToken bool
		sends    []string
	}{
		{"with the token", true, []string{"--header", "Authorization: Bearer " + token}},
		{"without a token", false, nil},
		{"without the token", true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := start(t, binary, tt.hasToken)
			args := append([]string{
				"--config-file", "schemathesis.toml", "run", "--url", url, "--no-color",
				"--seed", cmp.Or(os.Getenv("E2E_SEED"), "1"), "--max-examples", cmp.Or(os.Getenv("E2E_EXAMPLES"), "30"),
			}, tt.sends...)
			command := lab.Command(t.Context(), filepath.Join(filepath.Dir(python), "schemathesis"),
				append(args, filepath.Join("..", "..", "internal", "api", "openapi.json"))...)
			out, err := lab.Output(command)
			if err != nil {
				t.Errorf("schemathesis: %v\n%s", err, out)
			}
			t.Log(out[max(0, strings.LastIndex(out, "SUMMARY")):])
		})
	}
}

// start runs kproxy in front of fake brokers, with clients that come again when they are disconnected. It
// returns the URL of the API.
func start(t *testing.T, binary string, hasToken bool) (url string) {
	t.Helper()
	dir := t.TempDir()
	base, err := lab.NewPorts().Block(t.Context(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	access := ""
	if hasToken {
		file := filepath.Join(dir, "token")
		access = fmt.Sprintf(", token_file: %q", file)
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	broker := kfakelab.Start(t, 1, kfakelab.Hidden).At[0]
	proc, err := lab.StartKproxy(context.Background(), binary, dir, nil, fmt.Sprintf(`
clusters:
  orders:
    bootstrap: [%[1]q]
    dial: [{node: 0, to: %[1]q}]
    listeners:
      edge: {bind: "127.0.0.1:%[2]d", nodes: {ports: "%[3]d-%[4]d"}}
admin: {bind: "127.0.0.1:%[5]d"%[6]s}
`, broker, base, base+1, base+3, base+9, access))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proc.Stop(20 * time.Second); err != nil {
			t.Error(err)
		}
	})
	admin := "http://" + lab.HostPort("127.0.0.1", base+9)
	if err := lab.Poll(t.Context(), 20*time.Second, func() error {
		resp, err := http.Get(admin + "/readyz")
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz: %s", resp.Status)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		go stay(t.Context(), lab.HostPort("127.0.0.1", base))
	}
	return admin + "/api/v1"
}

// stay keeps a connection that has sent one request, and another one when that ends, until ctx does.
func stay(ctx context.Context, address string) {
	request := kmsg.NewRequestFormatter(kmsg.FormatterClientID("billing")).AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 1)
	for ctx.Err() == nil {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return // kproxy has ended
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		if _, err := conn.Write(request); err == nil {
			_, _ = io.Copy(io.Discard, conn)
		}
		stop()
		_ = conn.Close()
	}
}
