package auth

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"

	"kproxy/internal/files"
)

// A users file has a line for each user and hash, in the form that Kafka itself
// keeps (and kafka-configs.sh shows) behind the user's name:
//
//	alice: SHA-512: salt=…,stored_key=…,server_key=…,iterations=8192
//
// All of it but the iterations is base64. Empty lines, and those that begin with #, are
// ignored. A password cannot be read from the file, but can be guessed by it: keep it
// secret.

const (
	// MinIterations is the least that SCRAM allows (RFC 7677), and Kafka takes.
	MinIterations = 4096
	// DefaultIterations is the number of Kafka's own tool.
	DefaultIterations = 8192
	// maxIterations bounds the cost of one login.
	maxIterations = 1 << 20
	saltLen       = 24 // of the lines made here, in bytes
	// maxUsersFile bounds the file, in bytes. It is far more than usual.
	maxUsersFile = 64 << 20
)

// hashes are those of SCRAM, by the names in a users file.
var hashes = map[string]struct {
	mechanism string
	hash      scram.HashGeneratorFcn
	size      int
}{
	"SHA-256": {ScramSHA256, scram.SHA256, 32},
	"SHA-512": {ScramSHA512, scram.SHA512, 64},
}

// hashOf is the hash of a mechanism, as users files name it.
func hashOf(mechanism string) string { return strings.TrimPrefix(mechanism, "SCRAM-") }

// roster is the content of a users file.
type roster struct {
	users map[string]map[string]scram.StoredCredentials // mechanism, then user
	rings map[string]ring                               // by mechanism, PLAIN's too; see madeup.go
}

// plainOrder are the mechanisms whose lines PLAIN uses, in this order.
var plainOrder = []string{ScramSHA512, ScramSHA256}

// newRoster makes the rings of the users' lines.
func newRoster(users map[string]map[string]scram.StoredCredentials) *roster {
	r := &roster{users: users, rings: map[string]ring{}}
	for _, mechanism := range plainOrder {
		for user, keys := range users[mechanism] {
			r.rings[mechanism] = r.rings[mechanism].add(user, hashOf(mechanism), keys)
			if first, _ := r.line(user); first == mechanism {
				r.rings[Plain] = r.rings[Plain].add(user, hashOf(mechanism), keys)
			}
		}
	}
	for _, each := range r.rings {
		each.sort()
	}
	return r
}

// ring returns the lines that a name borrows from: those of the mechanism, or all if it
// has none.
func (r *roster) ring(mechanism string) ring {
	if own := r.rings[mechanism]; len(own) > 0 {
		return own
	}
	return r.rings[Plain]
}

// line returns the user's line that PLAIN takes; "": there is none.
func (r *roster) line(user string) (mechanism string, keys scram.StoredCredentials) {
	for _, mechanism := range plainOrder {
		if keys, ok := r.users[mechanism][user]; ok {
			return mechanism, keys
		}
	}
	return "", keys
}

// UserLine is the line of a users file for a user with this password.
func UserLine(user, password, mechanism string, iterations int) (string, error) {
	h, ok := hashes[hashOf(mechanism)]
	switch {
	case !ok:
		return "", fmt.Errorf("no mechanism for users is called %q", mechanism)
	case !isUserName(user):
		return "", fmt.Errorf("%q is no user's name: it is empty, or has a colon, a line's end or space around it, or begins with #", user)
	case password == "":
		return "", errors.New("the password is empty")
	case iterations < MinIterations || iterations > maxIterations:
		return "", fmt.Errorf("%d iterations are not between %d and %d", iterations, MinIterations, maxIterations)
	}
	salt := make([]byte, saltLen)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	// Unprepped, as Kafka's own brokers and clients do it.
	client, err := h.hash.NewClientUnprepped(user, password, "")
	if err != nil {
		return "", err
	}
	c, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return "", err
	}
	text := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s: %s: salt=%s,stored_key=%s,server_key=%s,iterations=%d",
		user, hashOf(mechanism), text(salt), text(c.StoredKey), text(c.ServerKey), iterations), nil
}

// isUserName reports whether a users file can hold the name.
func isUserName(name string) bool {
	return name != "" && name == strings.TrimSpace(name) && !strings.ContainsAny(name, ":\n\r") && !strings.HasPrefix(name, "#")
}

// parseRoster reads the content of a users file. Errors name the line, and
// nothing of it but the user.
func parseRoster(b []byte) (*roster, error) {
	users := map[string]map[string]scram.StoredCredentials{}
	lines := bufio.NewScanner(bytes.NewReader(files.WithoutBOM(b)))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		user, rest, _ := strings.Cut(line, ":")
		hash, keys, _ := strings.Cut(rest, ":")
		user, hash = strings.TrimSpace(user), strings.TrimSpace(hash)
		h, ok := hashes[hash]
		switch {
		case !isUserName(user):
			return nil, fmt.Errorf("line %d: it begins with no user's name", n)
		case !ok:
			return nil, fmt.Errorf("line %d: behind %q there is no SHA-256 or SHA-512", n, user)
		case users[h.mechanism][user].Iters != 0:
			return nil, fmt.Errorf("line %d: %q is there already, with the same hash", n, user)
		}
		c, err := parseKeys(strings.TrimSpace(keys), h.size)
		if err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", n, user, err)
		}
		if users[h.mechanism] == nil {
			users[h.mechanism] = map[string]scram.StoredCredentials{}
		}
		users[h.mechanism][user] = c
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return newRoster(users), nil
}

// parseKeys reads Kafka's text for the keys of one user.
func parseKeys(text string, size int) (scram.StoredCredentials, error) {
	var c scram.StoredCredentials
	seen := map[string]bool{}
	for field := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		if seen[name] {
			return c, fmt.Errorf("%s is there twice", name)
		}
		seen[name] = true
		var err error
		switch name {
		case "salt":
			var salt []byte
			salt, err = base64.StdEncoding.DecodeString(value)
			c.Salt = string(salt)
		case "stored_key":
			c.StoredKey, err = base64.StdEncoding.DecodeString(value)
		case "server_key":
			c.ServerKey, err = base64.StdEncoding.DecodeString(value)
		case "iterations":
			c.Iters, err = strconv.Atoi(value)
		default:
			return c, errors.New("found something other than salt, stored_key, server_key and iterations")
		}
		if err != nil {
			return c, fmt.Errorf("%s cannot be read", name)
		}
	}
	switch {
	case c.Salt == "":
		return c, errors.New("there is no salt")
	case len(c.StoredKey) != size || len(c.ServerKey) != size:
		return c, fmt.Errorf("stored_key and server_key do not have the %d bytes of the hash", size)
	case c.Iters < MinIterations || c.Iters > maxIterations:
		return c, fmt.Errorf("iterations is not between %d and %d", MinIterations, maxIterations)
	}
	return c, nil
}
