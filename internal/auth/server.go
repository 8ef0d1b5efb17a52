package auth

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/xdg-go/scram"
)

// UserMechanisms lists those by which clients can log in at kproxy.
func UserMechanisms() []string { return []string{Plain, ScramSHA256, ScramSHA512} }

// Users are the users that may log in at a listener, from a file that is read again when
// it changes. It is safe for concurrent use.
type Users struct {
	book       *book
	mechanisms []string
}

// NewUsers reads the users file. failed is called when a later version of it cannot be
// read; the last valid one is used then.
func NewUsers(ctx context.Context, file string, mechanisms []string, failed func(error)) (*Users, error) {
	b, err := openBook(ctx, file, failed)
	if err != nil {
		return nil, err
	}
	return &Users{book: b, mechanisms: mechanisms}, nil
}

// Look reads the file if it has changed. A login does so too.
func (u *Users) Look(ctx context.Context) { u.book.now(ctx) }

// Reload is Look, and returns the error of Refused.
func (u *Users) Reload() error {
	u.Look(context.Background())
	return u.Refused()
}

// Refused returns why the file as it is now is not used, but the one before; nil: it is used.
func (u *Users) Refused() error { return u.book.refusal() }

// Mechanisms lists those that clients may choose from.
func (u *Users) Mechanisms() []string { return u.mechanisms }

// stored returns the SCRAM credentials of the user. For a name without a user it returns
// made-up ones.
func (r *roster) stored(mechanism, user string) scram.StoredCredentials {
	_, madeUp := r.ring(mechanism).makeUp(user)
	if c, known := r.users[mechanism][user]; known {
		return c
	}
	return madeUp
}

// password returns the credentials that the user's password is compared with. For a name
// without a user it returns made-up ones, which cost as much.
func (r *roster) password(user string) (hash string, c scram.StoredCredentials, known bool) {
	hash, c = r.ring(Plain).makeUp(user)
	if mechanism, stored := r.line(user); mechanism != "" {
		return hashOf(mechanism), stored, true
	}
	return hash, c, false
}

// Peer is the client of a Conversation.
type Peer struct {
	// Source is the address whose turns the client's password checks take.
	Source netip.Addr
	// Stay is called while a check waits for its turn, and returns an error once the
	// client no longer needs it, such as after it has left. Nil: it always does.
	Stay func() error
}

func (p Peer) claimant(user string) claimant {
	return claimant{kind: forClients, path: []any{network(p.Source), user}, stay: p.Stay}
}

// network returns the addresses that share the turns of one: an IPv6 host usually
// has a whole /64, and could come from another address each time.
func network(source netip.Addr) netip.Prefix {
	bits := source.BitLen()
	if source.Is6() {
		bits = 64
	}
	prefix, err := source.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{} // the source is unknown
	}
	return prefix
}

// Conversation is a client's login at kproxy, on the server's side. It is not safe for
// concurrent use.
type Conversation struct {
	users     *Users
	peer      Peer
	mechanism string
	scram     *scram.ServerConversation
	roster    *roster // as it was when the user was named
	user      string
	done      bool
}

// maxToken bounds a client's token, in bytes. A Conversation of SCRAM keeps the first token,
// its nonce, and the response made of them, until the login is over. Without the user's name
// and password, the tokens of Java's client, librdkafka and franz-go have less than 300
// bytes; RFC 4616 allows 255 each for PLAIN's.
const maxToken = 4 << 10

var errLongToken = &RefusedError{fmt.Sprintf("Authentication failed: a SASL token of more than %d bytes", maxToken)}

// errNoMechanism means that a listener does not offer a mechanism.
var errNoMechanism = errors.New("the mechanism is not offered")

// Begin starts a login by a mechanism that the client has chosen.
func (u *Users) Begin(mechanism string, peer Peer) (*Conversation, error) {
	if !slices.Contains(u.mechanisms, mechanism) {
		return nil, errNoMechanism
	}
	c := &Conversation{users: u, peer: peer, mechanism: mechanism}
	if mechanism == Plain {
		return c, nil
	}
	server, err := hashes[hashOf(mechanism)].hash.NewServer(func(name string) (scram.StoredCredentials, error) {
		c.user = strings.Clone(unescape(name)) // the name is a part of the token
		return c.roster.stored(mechanism, c.user), nil
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

// User is the user that has logged in, or tries to.
func (c *Conversation) User() string { return c.user }

// RefusedError reports that a login has failed. Its text is Kafka's own, for the
// client, and does not say at which step.
type RefusedError struct{ text string }

func (e *RefusedError) Error() string { return e.text }

// Step takes the client's next token and returns the response to it. The error is a
// [*RefusedError] if the login has failed. Any other means that nothing was
// checked: [ErrTooMany], the end of ctx, or the error of the peer's Stay.
func (c *Conversation) Step(ctx context.Context, token []byte) (response []byte, err error) {
	if len(token) > maxToken {
		return nil, errLongToken
	}
	if c.mechanism == Plain {
		return []byte{}, c.plain(ctx, token)
	}
	if c.roster == nil {
		c.roster = c.users.book.now(ctx)
	}
	text, err := c.scram.Step(string(token))
	switch {
	case err != nil, !sameUser(unescape(c.scram.AuthzID()), c.user):
		return nil, &RefusedError{"Authentication failed during authentication due to invalid credentials with SASL mechanism " + c.mechanism}
	case c.scram.Done():
		c.done = c.scram.Valid()
	}
	return []byte(text), nil
}

// sameUser reports whether a client's authorization identity is empty or its own user.
func sameUser(authzID, user string) bool { return authzID == "" || authzID == user }

// errWrongPassword is Kafka's text.
var errWrongPassword = &RefusedError{"Authentication failed: Invalid username or password"}

// plain checks PLAIN's only token (RFC 4616).
func (c *Conversation) plain(ctx context.Context, token []byte) error {
	parts := strings.SplitN(string(token), "\x00", 4)
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return errWrongPassword
	}
	c.user = strings.Clone(parts[1]) // the session keeps it, and must not keep the password
	hash, stored, known := c.users.book.now(ctx).password(c.user)
	right, err := compute(ctx, computations, c.peer.claimant(c.user), func() bool {
		return fits(hash, c.user, parts[2], stored)
	})
	switch {
	case err != nil:
		return err
	case !right || !known || !sameUser(parts[0], c.user):
		return errWrongPassword
	}
	c.done = true
	return nil
}

// fits reports whether a password is the stored one. It takes equally long for a wrong
// one.
func fits(hash, user, password string, stored scram.StoredCredentials) bool {
	client, err := hashes[hash].hash.NewClientUnprepped(user, password, "")
	if err != nil {
		return false
	}
	got, err := client.GetStoredCredentialsWithError(stored.KeyFactors)
	return err == nil && hmac.Equal(got.StoredKey, stored.StoredKey)
}
