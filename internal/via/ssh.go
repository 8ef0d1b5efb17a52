package via

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"kproxy/internal/files"
	"kproxy/internal/foreign"
)

// sshHop gives channels of one SSH connection, the link. The first dial makes the link,
// and others wait for it. When it dies, the next dial makes another. An attempt to make
// one ends when no dial waits for it any more.
type sshHop struct {
	connect            proxyDial
	place              place
	timeout, keepAlive time.Duration
	knownHosts         string
	key, passphrase    secretFile
	password           secretFile
	agent              string

	channels family

	mu      sync.Mutex // guards the following
	closed  bool
	link    *link
	attempt *attempt

	tasks sync.WaitGroup // attempts, and the watchers of links; started under mu
}

// attempt is a link that is being made. done is closed when link and err are set.
type attempt struct {
	waiters int // guarded by sshHop.mu
	cancel  context.CancelFunc
	done    chan struct{}
	link    *link
	err     error
}

func (h *sshHop) dial(ctx context.Context, t target) (net.Conn, error) {
	for {
		l, fresh, err := h.ready(ctx)
		if err != nil {
			return nil, err
		}
		channel, err := l.open(ctx, t)
		if err == nil {
			return h.channels.adopt(channel, addr{schemeSSH, h.place.address}, addr{schemeSSH, t.String()})
		}
		// If the link had died unnoticed, the dial is retried.
		if fresh || !errors.Is(err, errLinkLost) || ctx.Err() != nil {
			return nil, err
		}
		l.close()
		<-l.ended
	}
}

// ready is the link. fresh says that it was made while the caller waited.
func (h *sshHop) ready(ctx context.Context) (l *link, fresh bool, err error) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, false, fail(OutcomeCanceled, net.ErrClosed)
	}
	if h.link != nil && !isDone(h.link.ended) {
		defer h.mu.Unlock()
		return h.link, false, nil
	}
	a := h.attempt
	if a == nil {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.timeout)
		a = &attempt{cancel: cancel, done: make(chan struct{})}
		h.attempt = a
		h.tasks.Go(func() { h.try(limit, a) })
	}
	a.waiters++
	h.mu.Unlock()

	select {
	case <-a.done:
		return a.link, true, a.err
	case <-ctx.Done():
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.waiters--; a.waiters == 0 {
		h.abandon(a)
	}
	return nil, false, fail(OutcomeProxyUnreachable, ctx.Err())
}

// abandon ends an attempt. mu is held.
func (h *sshHop) abandon(a *attempt) {
	a.cancel()
	if h.attempt == a {
		h.attempt = nil
	}
}

// try makes a link for the callers that wait for a.
func (h *sshHop) try(ctx context.Context, a *attempt) {
	defer a.cancel()
	l, err := h.login(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	defer close(a.done)
	switch {
	case err != nil:
		a.err = err
	case h.attempt != a: // abandoned, or closed
		l.close()
		a.err = fail(OutcomeCanceled, net.ErrClosed)
	default:
		a.link, h.link = l, l
	}
	if h.attempt == a {
		h.attempt = nil
	}
	if l != nil {
		h.tasks.Go(l.await)
		h.tasks.Go(l.watch)
	}
}

func (h *sshHop) close() {
	h.mu.Lock()
	h.closed = true
	if h.attempt != nil {
		h.abandon(h.attempt)
	}
	if h.link != nil {
		h.link.close()
	}
	h.mu.Unlock()
	h.channels.close()
	h.tasks.Wait()
}

// login connects to the proxy and logs in. The files are read anew.
func (h *sshHop) login(ctx context.Context) (*link, error) {
	db, err := h.hostKeys(ctx)
	if err != nil {
		return nil, fail(OutcomeCredentials, err)
	}
	login, err := h.auth(ctx)
	if err != nil {
		return nil, fail(OutcomeCredentials, err)
	}
	defer login.release()
	conn, err := h.connect.connect(ctx, h.place.address)
	if err != nil {
		return nil, err
	}
	wire := &watched{Conn: conn}
	var trusted atomic.Bool
	var stranger atomic.Pointer[error]
	config := &ssh.ClientConfig{
		User: h.place.user,
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
		HostKeyAlgorithms: db.HostKeyAlgorithms(h.place.known()),
	}
	stop := context.AfterFunc(ctx, func() { _ = wire.Close() })
	client, channels, requests, err := ssh.NewClientConn(wire, h.place.known(), config)
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
		return nil, fail(OutcomeProxyUnreachable, ctx.Err())
	case why != nil:
		return nil, fail(OutcomeProxyUntrusted, h.untrusted(*why))
	case trusted.Load():
		return nil, fail(OutcomeLoginRefused, loginRefused(err, login.keys))
	case wire.received.Load() == 0:
		return nil, fail(OutcomeProxyUnreachable, errHungUp)
	default:
		return nil, fail(OutcomeProxyProtocol, err)
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
func (h *sshHop) auth(ctx context.Context) (c credentials, err error) {
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
		password, err := h.password.read(ctx)
		if err != nil {
			c.release()
			return c, err
		}
		// Many servers ask for the password by the interactive method only.
		response := func(_, _ string, questions []string, _ []bool) ([]string, error) {
			answers := make([]string, len(questions))
			for i := range answers {
				answers[i] = password
			}
			return answers, nil
		}
		c.methods = append(c.methods, ssh.Password(password), ssh.KeyboardInteractive(response))
		c.secrets = []string{password}
	}
	if c.methods != nil {
		return c, nil
	}
	return c, h.fromAgent(ctx, &c, nil)
}

// fromAgent adds the agent's keys to c, or only the one with the public key only, as
// OpenSSH does with IdentitiesOnly.
func (h *sshHop) fromAgent(ctx context.Context, c *credentials, only ssh.PublicKey) error {
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
		err, keys, usualTries, KeyKeyFile)
}

// publicKey returns the public key in the key file, or nil if there is no file or it
// holds something else.
func (h *sshHop) publicKey(ctx context.Context) (ssh.PublicKey, error) {
	if h.key == "" {
		return nil, nil
	}
	text, err := files.Read(ctx, string(h.key), maxSecret)
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
func (h *sshHop) signer(ctx context.Context) (ssh.Signer, error) {
	pem, err := files.Read(ctx, string(h.key), maxSecret)
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
	passphrase, err := h.passphrase.read(ctx)
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

// checkLogin finds the mistakes in a login that show without connecting.
func (h *sshHop) checkLogin() error {
	if h.passphrase != "" && h.key == "" {
		return &ConfigError{KeyPassphraseFile, "there is no key that it could be the passphrase of", "name the key with " + KeyKeyFile}
	}
	public, err := h.publicKey(context.Background())
	if err != nil {
		return unreadable(KeyKeyFile, err)
	}
	if h.key != "" && public == nil {
		if _, err := h.signer(context.Background()); errors.Is(err, errEncrypted) {
			return &ConfigError{KeyKeyFile, err.Error(), "name one with " + KeyPassphraseFile + ", or leave the key to an agent: ssh-add " + string(h.key)}
		} else if err != nil {
			return &ConfigError{KeyKeyFile, err.Error(), "name a private key that this process may read, and the file of its passphrase if it has one"}
		}
	}
	if _, err := h.password.read(context.Background()); err != nil {
		return unreadable(KeyPasswordFile, err)
	}
	if public == nil && (h.key != "" || h.password != "") {
		return nil
	}
	if h.agent == "" {
		h.agent = os.Getenv("SSH_AUTH_SOCK")
	}
	switch {
	case h.agent == "" && public != nil:
		return &ConfigError{
			KeyKeyFile, fmt.Sprintf("%s holds a public key, and there is no SSH agent that could have the private one (SSH_AUTH_SOCK)", h.key),
			"name the private key, or start an agent",
		}
	case h.agent == "":
		return &ConfigError{
			KeyKeyFile, "there is no key, no password and no SSH agent (SSH_AUTH_SOCK)",
			"name a private key, such as ~/.ssh/id_ed25519, or start an agent",
		}
	}
	return nil
}

// checkKnownHosts wants a file in which the host has a key.
func (h *sshHop) checkKnownHosts() error {
	if h.knownHosts == "" {
		return &ConfigError{KeyKnownHosts, "there is no file of known host keys, without which anyone could be " + h.place.host, "make one: " + h.keyscan("known_hosts")}
	}
	db, err := h.hostKeys(context.Background())
	if errors.Is(err, os.ErrNotExist) {
		return &ConfigError{KeyKnownHosts, err.Error(), "make it: " + h.keyscan(h.knownHosts)}
	}
	if err != nil {
		return &ConfigError{KeyKnownHosts, err.Error(), "name a file in the format of OpenSSH's known_hosts"}
	}
	if len(db.HostKeys(h.place.known())) == 0 {
		return &ConfigError{KeyKnownHosts, fmt.Sprintf("%s has no key of %s", h.knownHosts, h.place.address), "add it: " + h.keyscan(h.knownHosts)}
	}
	return nil
}

// hostKeys reads the file of known hosts. The library opens it by its name, twice.
func (h *sshHop) hostKeys(ctx context.Context) (*knownhosts.HostKeyDB, error) {
	if _, err := files.Read(ctx, h.knownHosts, maxKnownHosts); err != nil {
		return nil, err
	}
	return files.Do(ctx, h.knownHosts, func() (*knownhosts.HostKeyDB, error) { return knownhosts.NewDB(h.knownHosts) })
}

// maxKnownHosts bounds a file of known hosts: 16 MiB are some 40,000 keys.
const maxKnownHosts = 16 << 20

// keyscan is the command that makes the line, with placeholders for unknown values.
func (h *sshHop) keyscan(file string) string {
	return fmt.Sprintf("ssh-keyscan -p %d %s >> %s, and compare the key with the one that its administrator gives", h.place.port, h.place.host, file)
}

// untrusted is the error about a host's key, with advice.
func (h *sshHop) untrusted(err error) error {
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
