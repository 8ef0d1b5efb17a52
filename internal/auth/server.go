package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/xdg-go/scram"
)

// UserMechanisms lists those by which clients can log in at kproxy.
func UserMechanisms() []string { return []string{Plain, ScramSHA256, ScramSHA512} }

// Users are who may log in at a listener, from a users file that is read again
// when it changes. They may be used by several goroutines at once.
type Users struct {
	file       string
	mechanisms []string
	failed     func(error)

	fake []byte        // makes up the salt of users that there are not
	work chan struct{} // holds an element for each password that is being checked

	mu    sync.Mutex // guards the following
	known roster
	state fileState // of the file, when it was last read
}

// fileState is what shows that a file has changed.
type fileState struct {
	size     int64
	modified time.Time
	missing  bool
}

// NewUsers reads the users file. failed is told when a later version of it cannot
// be read; then the last good one stays.
func NewUsers(file string, mechanisms []string, failed func(error)) (*Users, error) {
	u := &Users{
		file:       file,
		mechanisms: mechanisms,
		failed:     failed,
		fake:       make([]byte, sha256.Size),
		// A password costs milliseconds of a core; half of the cores stay for
		// those who are logged in.
		work: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	if _, err := rand.Read(u.fake); err != nil {
		return nil, err
	}
	u.state = u.look()
	var err error
	u.known, err = readRoster(file)
	return u, err
}

func (u *Users) look() fileState {
	info, err := os.Stat(u.file)
	if err != nil {
		return fileState{missing: true}
	}
	return fileState{size: info.Size(), modified: info.ModTime()}
}

// users returns what the file says.
func (u *Users) users() roster {
	u.mu.Lock()
	defer u.mu.Unlock()
	if now := u.look(); now != u.state {
		u.state = now
		if known, err := readRoster(u.file); err != nil {
			u.failed(err)
		} else {
			u.known = known
		}
	}
	return u.known
}

// Mechanisms lists those that clients may choose from.
func (u *Users) Mechanisms() []string { return u.mechanisms }

// lookup returns what is known of a user. Of one that there is not it makes
// something up, the same each time, so that nobody can tell who there is.
func (u *Users) lookup(mechanism, user string) (c scram.StoredCredentials, known bool) {
	users := u.users()[mechanism]
	if c, known = users[user]; known {
		return c, true
	}
	h := hmac.New(sha256.New, u.fake)
	_, _ = h.Write([]byte(mechanism + "\x00" + user))
	sum := h.Sum(nil)
	c.Salt, c.Iters = string(sum[:saltLen]), MinIterations
	for _, other := range users {
		c.Iters = max(c.Iters, other.Iters)
	}
	size := hashes[hashOf(mechanism)].size
	c.StoredKey, c.ServerKey = make([]byte, size), make([]byte, size)
	_, _ = rand.Read(c.StoredKey) // never fails; no proof fits it
	return c, false
}

// password returns what a password of the user is compared with.
func (u *Users) password(user string) (mechanism string, c scram.StoredCredentials, known bool) {
	all := u.users()
	mechanism = ScramSHA512
	if _, only := all[ScramSHA256][user]; only || len(all[ScramSHA512]) == 0 {
		if _, both := all[ScramSHA512][user]; !both {
			mechanism = ScramSHA256
		}
	}
	c, known = u.lookup(mechanism, user)
	return mechanism, c, known
}

// Conversation is a client's login at kproxy, on the server's side. One goroutine
// at a time uses it.
type Conversation struct {
	users     *Users
	mechanism string
	scram     *scram.ServerConversation
	user      string
	done      bool
}

// errNoMechanism says that a listener does not offer a mechanism.
var errNoMechanism = errors.New("the mechanism is not offered")

// Begin starts a login by a mechanism that the client has chosen.
func (u *Users) Begin(mechanism string) (*Conversation, error) {
	if !slices.Contains(u.mechanisms, mechanism) {
		return nil, errNoMechanism
	}
	c := &Conversation{users: u, mechanism: mechanism}
	if mechanism == Plain {
		return c, nil
	}
	server, err := hashes[hashOf(mechanism)].hash.NewServer(func(name string) (scram.StoredCredentials, error) {
		c.user = unescape(name)
		stored, _ := u.lookup(mechanism, c.user)
		return stored, nil
	})
	if err != nil {
		return nil, err
	}
	c.scram = server.NewConversation()
	return c, nil
}

// unescape reads a name as SCRAM writes it (RFC 5802, saslname).
func unescape(name string) string {
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name)
}

// Done reports whether the client has logged in, as User.
func (c *Conversation) Done() bool { return c.done }

// User is who has logged in, or tries to.
func (c *Conversation) User() string { return c.user }

// Step takes the client's next token and returns the answer to it. An error says
// that the login has failed, in Kafka's own words for the client; it does not
// say at what.
func (c *Conversation) Step(ctx context.Context, token []byte) (answer []byte, err error) {
	if c.mechanism == Plain {
		return []byte{}, c.plain(ctx, token)
	}
	text, err := c.scram.Step(string(token))
	switch {
	case err != nil, !sameUser(unescape(c.scram.AuthzID()), c.user):
		return nil, fmt.Errorf("Authentication failed during authentication due to invalid credentials with SASL mechanism %s", c.mechanism) //nolint:staticcheck // what clients show, in the words that users search for
	case c.scram.Done():
		c.done = c.scram.Valid()
	}
	return []byte(text), nil
}

// sameUser reports whether a client asks for nobody else's rights: whom it wants
// to act for is itself.
func sameUser(authzID, user string) bool { return authzID == "" || authzID == user }

// errWrongPassword is what Kafka says.
var errWrongPassword = errors.New("Authentication failed: Invalid username or password") //nolint:staticcheck // what clients show, in the words that users search for

// plain takes PLAIN's only token (RFC 4616).
func (c *Conversation) plain(ctx context.Context, token []byte) error {
	parts := strings.Split(string(token), "\x00")
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return errWrongPassword
	}
	c.user = parts[1]
	mechanism, stored, known := c.users.password(c.user)
	select {
	case c.users.work <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.users.work }()
	client, err := hashes[hashOf(mechanism)].hash.NewClientUnprepped(c.user, parts[2], "")
	if err != nil {
		return errWrongPassword
	}
	// As much work for a user that there is not.
	got, err := client.GetStoredCredentialsWithError(stored.KeyFactors)
	if err != nil || !hmac.Equal(got.StoredKey, stored.StoredKey) || !known || !sameUser(parts[0], c.user) {
		return errWrongPassword
	}
	c.done = true
	return nil
}
