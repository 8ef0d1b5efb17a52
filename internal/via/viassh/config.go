package viassh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/skeema/knownhosts"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"kproxy/internal/files"
	"kproxy/internal/hostport"
	"kproxy/internal/via"
)

// New makes the hop of ssh. It is a [via.NewHop].
func New(c via.Config, p via.Place) (via.Hop, error) {
	if p.User == "" {
		me, err := user.Current()
		if err != nil || me.Username == "" {
			return nil, mistake(via.KeyVia, "it has no user, and this process has no user's name", "write ssh://user@"+p.Address)
		}
		p.User = me.Username
	}
	h := &hop{
		dialProxy: c.DialProxy, place: p, timeout: c.Timeout, keepAlive: c.KeepAlive,
		knownHosts: c.KnownHosts, key: via.SecretFile(c.KeyFile), passphrase: via.SecretFile(c.PassphraseFile),
		password: via.SecretFile(c.PasswordFile), agent: c.AgentSocket,
	}
	if err := errors.Join(h.checkLogin(), h.checkKnownHosts()); err != nil {
		return nil, err
	}
	return h, nil
}

// mistake is a mistake in a [via.Config].
func mistake(key, problem, fix string) error {
	return &via.ConfigError{Key: key, Problem: problem, Fix: fix}
}

// known is the address as OpenSSH writes it in known_hosts: the name in lower case,
// without a root dot.
func (h *hop) known() string { return hostport.CanonicalAddress(h.place.Address) }

// checkLogin finds the mistakes in a login that show without connecting.
func (h *hop) checkLogin() error {
	if h.passphrase != "" && h.key == "" {
		return mistake(via.KeyPassphraseFile, "there is no key that it could be the passphrase of", "name the key with "+via.KeyKeyFile)
	}
	public, err := h.publicKey(context.Background())
	if err != nil {
		return via.Unreadable(via.KeyKeyFile, err)
	}
	if h.key != "" && public == nil {
		if _, err := h.signer(context.Background()); errors.Is(err, errEncrypted) {
			return mistake(via.KeyKeyFile, err.Error(), "name one with "+via.KeyPassphraseFile+", or leave the key to an agent: ssh-add "+string(h.key))
		} else if err != nil {
			return mistake(via.KeyKeyFile, err.Error(), "name a private key that this process may read, and the file of its passphrase if it has one")
		}
	}
	if _, err := h.password.Read(context.Background()); err != nil {
		return via.Unreadable(via.KeyPasswordFile, err)
	}
	if public == nil && (h.key != "" || h.password != "") {
		return nil
	}
	if h.agent == "" {
		h.agent = os.Getenv("SSH_AUTH_SOCK")
	}
	switch {
	case h.agent == "" && public != nil:
		return mistake(
			via.KeyKeyFile, fmt.Sprintf("%s holds a public key, and there is no SSH agent that could have the private one (SSH_AUTH_SOCK)", h.key),
			"name the private key, or start an agent",
		)
	case h.agent == "":
		return mistake(
			via.KeyKeyFile, "there is no key, no password and no SSH agent (SSH_AUTH_SOCK)",
			"name a private key, such as ~/.ssh/id_ed25519, or start an agent",
		)
	}
	return nil
}

// checkKnownHosts wants a file in which the host has a key.
func (h *hop) checkKnownHosts() error {
	if h.knownHosts == "" {
		return mistake(via.KeyKnownHosts, "there is no file of known host keys, without which anyone could be "+h.place.Host, "make one: "+h.keyscan("known_hosts"))
	}
	db, err := h.hostKeys(context.Background())
	if errors.Is(err, os.ErrNotExist) {
		return mistake(via.KeyKnownHosts, err.Error(), "make it: "+h.keyscan(h.knownHosts))
	}
	if err != nil {
		return mistake(via.KeyKnownHosts, err.Error(), "name a file in the format of OpenSSH's known_hosts")
	}
	if len(db.HostKeys(h.known())) == 0 {
		return mistake(via.KeyKnownHosts, fmt.Sprintf("%s has no key of %s", h.knownHosts, h.place.Address), "add it: "+h.keyscan(h.knownHosts))
	}
	return nil
}

// hostKeys reads the file of known hosts. The library opens it by its name, twice.
func (h *hop) hostKeys(ctx context.Context) (*knownhosts.HostKeyDB, error) {
	if _, err := files.Read(ctx, h.knownHosts, maxKnownHosts); err != nil {
		return nil, err
	}
	return files.Do(ctx, h.knownHosts, func() (*knownhosts.HostKeyDB, error) { return knownhosts.NewDB(h.knownHosts) })
}

// maxKnownHosts bounds a file of known hosts: 16 MiB are some 40,000 keys.
const maxKnownHosts = 16 << 20

// keyscan is the command that makes the line, with placeholders for unknown values.
func (h *hop) keyscan(file string) string {
	return fmt.Sprintf("ssh-keyscan -p %d %s >> %s, and compare the key with the one that its administrator gives", h.place.Port, h.place.Host, file)
}

// untrusted is the error about a host's key, with advice.
func (h *hop) untrusted(err error) error {
	key, ok := errors.AsType[*xknownhosts.KeyError](err)
	switch {
	case ok && len(key.Want) == 0:
		return fmt.Errorf("%w; add it: %s", err, h.keyscan(h.knownHosts))
	case ok:
		want := key.Want[0]
		return fmt.Errorf("%w; if its key was changed on purpose, remove line %d of %s and add the new one: %s", err, want.Line, want.Filename, h.keyscan(h.knownHosts))
	default:
		return err
	}
}
