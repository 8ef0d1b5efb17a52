package viatest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Key is a key pair of SSH.
type Key struct {
	Private ed25519.PrivateKey
	Signer  ssh.Signer
	PEM     string // in OpenSSH's format
}

// NewKey makes a key.
func NewKey(tb testing.TB) Key {
	tb.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		tb.Fatal(err)
	}
	return Key{private, signer, string(pem.EncodeToMemory(block))}
}

// Encrypted is the private key, as OpenSSH writes it with a passphrase.
func (k Key) Encrypted(tb testing.TB, passphrase string) string {
	tb.Helper()
	block, err := ssh.MarshalPrivateKeyWithPassphrase(k.Private, "", []byte(passphrase))
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}
