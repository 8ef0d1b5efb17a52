package viassh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"kproxy/internal/files"
	"kproxy/internal/foreign"
	"kproxy/internal/via"
)

// login connects to the proxy and logs in. The files are read anew.
func (h *hop) login(ctx context.Context) (*link, error) {
	db, err := h.hostKeys(ctx)
	if err != nil {
		return nil, via.Fail(via.OutcomeCredentials, err)
	}
	login, err := h.auth(ctx)
	if err != nil {
		return nil, via.Fail(via.OutcomeCredentials, err)
	}
	defer login.release()
	conn, err := h.dialProxy.Connect(ctx, h.place.Address)
	if err != nil {
		return nil, err
	}
	wire := &watched{Conn: conn}
	var trusted atomic.Bool
	var stranger atomic.Pointer[error]
	config := &ssh.ClientConfig{
		User: h.place.User,
		Auth: login.methods,
		HostKeyCallback: func(host string, remote net.Addr, key ssh.PublicKey) error {
			err := db.HostKeyCallback()(host, remote, key)
			if err != nil {
				stranger.Store(&err)
				return err
			}
			trusted.Store(true)
			return nil
		},
		// Otherwise the host may choose a key of a type that is not in the file, which
		// looks like an attack.
		HostKeyAlgorithms: db.HostKeyAlgorithms(h.known()),
	}
	stop := context.AfterFunc(ctx, func() { _ = wire.Close() })
	client, channels, requests, err := ssh.NewClientConn(wire, h.known(), config)
	ended := !stop()
	switch {
	case err == nil && !ended:
		return newLink(ssh.NewClient(client, channels, requests), wire, h.keepAlive, login.secrets), nil
	case err == nil:
		_ = client.Close() // the context has closed its connection
	}
	_ = wire.Close()
	err = foreign.Error(err, login.secrets...) // the host's own words may be in it
	switch why := stranger.Load(); {
	case ended:
		return nil, via.Fail(via.OutcomeProxyUnreachable, ctx.Err())
	case why != nil:
		return nil, via.Fail(via.OutcomeProxyUntrusted, h.untrusted(*why))
	case trusted.Load():
		return nil, via.Fail(via.OutcomeLoginRefused, loginRefused(err, login.keys))
	case wire.received.Load() == 0:
		return nil, via.Fail(via.OutcomeProxyUnreachable, via.ErrHungUp)
	default:
		return nil, via.Fail(via.OutcomeProxyProtocol, err)
	}
}

// credentials are the secrets of a login. release must be called once that is done.
type credentials struct {
	methods []ssh.AuthMethod
	release func()
	secrets []string // which are sent to the host, and which no error may repeat
	keys    int      // how many of the agent's are offered
}

// auth reads the files that name the credentials, or asks the agent.
func (h *hop) auth(ctx context.Context) (c credentials, err error) {
	c.release = func() {}
	if h.key != "" {
		public, err := h.publicKey(ctx)
		if err != nil {
			return c, err
		}
		if public != nil {
			if err := h.fromAgent(ctx, &c, public); err != nil {
				return c, err
			}
		} else {
			signer, err := h.signer(ctx)
			if err != nil {
				return c, err
			}
			c.methods = append(c.methods, ssh.PublicKeys(signer))
		}
	}
	if h.password != "" {
		password, err := h.password.Read(ctx)
		if err != nil {
			c.release()
			return c, err
		}
		// Many servers ask for the password by the interactive method only.
		answer := func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range answers {
				answers[i] = password
			}
			return answers, nil
		}
		c.methods = append(c.methods, ssh.Password(password), ssh.KeyboardInteractive(answer))
		c.secrets = []string{password}
	}
	if c.methods != nil {
		return c, nil
	}
	return c, h.fromAgent(ctx, &c, nil)
}

// fromAgent adds the agent's keys to c, or only the one with the public key only, as
// OpenSSH does with IdentitiesOnly.
func (h *hop) fromAgent(ctx context.Context, c *credentials, only ssh.PublicKey) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", h.agent)
	if err != nil {
		return fmt.Errorf("the SSH agent does not respond: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // an agent may ask a person
	release := func() { stop(); _ = conn.Close() }
	signers, err := agent.NewClient(conn).Signers()
	if err == nil && len(signers) == 0 {
		err = errors.New("it has no keys; add one with ssh-add")
	}
	if err == nil && only != nil {
		had := len(signers)
		signers = slices.DeleteFunc(signers, func(s ssh.Signer) bool { return !bytes.Equal(s.PublicKey().Marshal(), only.Marshal()) })
		if len(signers) == 0 {
			err = fmt.Errorf("none of its %d keys is that of %s; add it with ssh-add", had, h.key)
		}
	}
	if err != nil {
		release()
		return fmt.Errorf("the SSH agent at %s: %w", h.agent, err)
	}
	c.methods = append(c.methods, ssh.PublicKeys(signers...))
	c.release, c.keys = release, len(signers)
	return nil
}

// usualTries is OpenSSH's default of MaxAuthTries.
const usualTries = 6

// loginRefused adds the number of offered keys, if that may be the reason: the server
// counts each, and may not have seen the right one.
func loginRefused(err error, keys int) error {
	if keys < usualTries {
		return err
	}
	return fmt.Errorf("%w; the agent has %d keys, each is an attempt, and servers allow %d as a rule (MaxAuthTries): name the file of the right one's public key with %s",
		err, keys, usualTries, via.KeyKeyFile)
}

// publicKey returns the public key in the key file, or nil if there is no file or it
// holds something else.
func (h *hop) publicKey(ctx context.Context) (ssh.PublicKey, error) {
	if h.key == "" {
		return nil, nil
	}
	text, err := files.Read(ctx, string(h.key), via.MaxSecret)
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(files.WithoutBOM(text))
	if err != nil {
		return nil, nil //nolint:nilerr // it is a private key, or signer reports the mistake
	}
	return key, nil
}

// signer is the key of the key file.
func (h *hop) signer(ctx context.Context) (ssh.Signer, error) {
	pem, err := files.Read(ctx, string(h.key), via.MaxSecret)
	pem = files.WithoutBOM(pem)
	if err == nil && len(pem) == 0 {
		err = fmt.Errorf("%s: %w", h.key, files.ErrEmpty)
	}
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); !encrypted {
		if err != nil {
			return nil, fmt.Errorf("%s holds no private key: %w", h.key, err)
		}
		return signer, nil
	}
	if h.passphrase == "" {
		return nil, fmt.Errorf("%s: %w", h.key, errEncrypted)
	}
	passphrase, err := h.passphrase.Read(ctx)
	if err != nil {
		return nil, err
	}
	signer, err = ssh.ParsePrivateKeyWithPassphrase(pem, []byte(passphrase))
	if err != nil {
		return nil, fmt.Errorf("%s does not open with the passphrase in %s", h.key, h.passphrase)
	}
	return signer, nil
}

var errEncrypted = errors.New("the key is encrypted, and there is no passphrase file")
