package via_test

import (
	"os"
	"strings"
	"testing"

	"kproxy/internal/via"
	"kproxy/internal/via/viatest"
)

// Each mistake is reported with its key and its fix, and without a secret.
func TestConfigErrors(t *testing.T) {
	key := viatest.File(t, viatest.NewKey(t).PEM)
	tests := []struct {
		config   via.Config
		key      string
		mentions string
	}{
		{via.Config{}, via.KeyVia, "socks5://host:1080"},
		{via.Config{URL: "127.0.0.1:1080"}, via.KeyVia, "socks5, http, https, ssh and exec"},
		{via.Config{URL: "ftp://host"}, via.KeyVia, "socks5, http, https, ssh and exec"},
		{via.Config{URL: "socks5h://host"}, via.KeyVia, "write socks5://"},
		{via.Config{URL: "socks5://u:hunter2@host"}, via.KeyVia, "via_password_file"},
		{via.Config{URL: "socks5://u:hunter2 @ho st:%zz"}, via.KeyVia, "not a URL"},
		{via.Config{URL: "socks5:host"}, via.KeyVia, "not a URL"},
		{via.Config{URL: "socks5://host:0"}, via.KeyVia, "no host and port"},
		{via.Config{URL: "http://host"}, via.KeyVia, "write http://user@host:3128"},
		{via.Config{URL: "http://host:3128/path"}, via.KeyVia, "behind its host and port"},
		{via.Config{URL: "ssh://user@"}, via.KeyVia, "no host and port"},
		{via.Config{URL: "socks5://host", PasswordFile: key}, via.KeyPasswordFile, "socks5://user@host:1080"},
		{via.Config{URL: "socks5://u@host"}, via.KeyPasswordFile, "there is no password"},
		{via.Config{URL: "socks5://u@host", PasswordFile: "/nowhere/p"}, via.KeyPasswordFile, "/nowhere/p"},
		{via.Config{URL: "socks5://u@host", PasswordFile: viatest.File(t, "")}, via.KeyPasswordFile, "empty"},
		{via.Config{URL: "socks5://u@host", PasswordFile: viatest.File(t, strings.Repeat("hunter2", 40))}, via.KeyPasswordFile, "255 bytes"},
		{via.Config{URL: "http://u%3Ax@host:1", PasswordFile: viatest.File(t, "hunter2")}, via.KeyVia, "colon"},
		{via.Config{URL: "ssh://u@host"}, via.KeyVia, "does not link ssh"},
		{via.Config{URL: "exec:"}, via.KeyVia, "no command"},
		{via.Config{URL: "exec:cat {host}"}, via.KeyVia, "no {port}"},
		{via.Config{URL: "exec:cat {port}"}, via.KeyVia, "no {host}"},
		{via.Config{URL: "exec:{host} {port}"}, via.KeyVia, "a broker's text"},
		{via.Config{URL: "exec:no-such-command-anywhere {host} {port}"}, via.KeyVia, "whole path"},
		{via.Config{URL: "exec:cat {host} {port} | tee x"}, via.KeyVia, "no shell runs it"},
		{via.Config{URL: "exec:cat '{host} {port}"}, via.KeyVia, "not closed"},
	}
	for _, tt := range tests {
		viatest.Refused(t, tt.config, tt.key, tt.mentions)
	}
}

// The text for logs has no secret, and no argument of a command.
func TestString(t *testing.T) {
	tests := map[string]string{
		"socks5://proxy":                "socks5://proxy:1080",
		"http://[::1]:3128/":            "http://[::1]:3128",
		"https://proxy":                 "https://proxy:443",
		execLine(t, "-t {host}:{port}"): "exec:" + os.Args[0],
		"socks5://k%40corp@proxy:99":    "socks5://k%40corp@proxy:99",
	}
	for url, want := range tests {
		c := via.Config{URL: url}
		if strings.Contains(url, "@") {
			c.PasswordFile = viatest.File(t, viatest.Password)
		}
		if got := viatest.Dialer(t, c).String(); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
}

func TestOutcomesAreDistinct(t *testing.T) {
	seen := make(map[via.Outcome]bool)
	for _, o := range via.Outcomes() {
		if seen[o] || !strings.HasPrefix(string(o), "via_") {
			t.Errorf("%q is there twice, or could be a dial's without a via", o)
		}
		seen[o] = true
	}
}
