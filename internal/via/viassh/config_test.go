package viassh_test

import (
	"testing"

	"kproxy/internal/via"
	"kproxy/internal/via/viassh"
	"kproxy/internal/via/viatest"
)

// Each mistake is an error with its key and its fix, and without a secret.
func TestConfigErrors(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	key, otherHost := viatest.File(t, viatest.NewKey(t).PEM), viatest.File(t, "other.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVq3u1mHxH4zRjP8eQ2Dq3t5N6s2Ykq3cJ0yq2lDk0H\n")
	tests := []struct {
		config   via.Config
		key      string
		mentions string
	}{
		{via.Config{URL: "ssh://u@host"}, via.KeyKeyFile, "SSH_AUTH_SOCK"},
		{via.Config{URL: "ssh://u@host", KeyFile: "/nowhere/k"}, via.KeyKeyFile, "/nowhere/k"},
		{via.Config{URL: "ssh://u@host", KeyFile: viatest.File(t, "hunter2")}, via.KeyKeyFile, "no private key"},
		{via.Config{URL: "ssh://u@host", KeyFile: viatest.File(t, viatest.NewKey(t).Encrypted(t, "hunter2"))}, via.KeyKeyFile, "ssh-add"},
		{via.Config{URL: "ssh://u@host", KeyFile: viatest.File(t, viatest.NewKey(t).Encrypted(t, "hunter2")), PassphraseFile: viatest.File(t, "hunter3")}, via.KeyKeyFile, "does not open"},
		{via.Config{URL: "ssh://u@host", PassphraseFile: key}, via.KeyPassphraseFile, "via_key_file"},
		{via.Config{URL: "ssh://u@host:2222", KeyFile: key}, via.KeyKnownHosts, "ssh-keyscan -p 2222 host >> known_hosts"},
		{via.Config{URL: "ssh://u@host", KeyFile: key, KnownHosts: "/nowhere/h"}, via.KeyKnownHosts, "ssh-keyscan -p 22 host >> /nowhere/h"},
		{via.Config{URL: "ssh://u@host", KeyFile: key, KnownHosts: viatest.File(t, "nonsense")}, via.KeyKnownHosts, "known_hosts"},
		{via.Config{URL: "ssh://u@host", KeyFile: key, KnownHosts: otherHost}, via.KeyKnownHosts, "has no key of host:22"},
		{via.Config{URL: "ssh://u@[::1]", KeyFile: key, KnownHosts: otherHost}, via.KeyKnownHosts, "ssh-keyscan -p 22 ::1"},
	}
	for _, tt := range tests {
		tt.config.SSH = viassh.New
		viatest.Refused(t, tt.config, tt.key, tt.mentions)
	}
}
