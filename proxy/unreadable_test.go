package proxy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// New names every file and secret that cannot be used, as CheckFiles does.
func TestNewNamesEveryFile(t *testing.T) {
	t.Setenv("KPROXY_TEST_NOTHING", "")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("words"), 0o600); err != nil {
		t.Fatal(err)
	}
	var l lab
	conf := l.config()
	conf.StateDir = file
	one := &conf.Clusters[0]
	one.TLS = &config.UpstreamTLS{CA: "/no/ca"}
	one.SASL = &config.SASL{Mechanism: "PLAIN", Username: "u", Password: config.Secret{Env: "KPROXY_TEST_NOTHING"}}
	one.Listeners[0].TLS = &config.ListenerTLS{Certs: []config.KeyPair{{Cert: file, Key: "/no/key"}}, ClientCA: file, TicketKeys: []string{file}}
	one.Listeners[1].Login = &config.Login{UsersFile: "/no/such/file", Mechanisms: []string{"PLAIN"}}
	want := conf.CheckFiles()
	if want == nil || !strings.Contains(want.Error(), "clusters.orders.listeners.fred.login.users_file: stat /no/such/file") {
		t.Fatalf("CheckFiles: got %v", want)
	}
	if _, err := proxy.New(conf); err == nil || err.Error() != want.Error() {
		t.Errorf("New: got\n%v\nwant\n%v", err, want)
	}
}
