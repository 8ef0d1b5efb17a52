package auth

import (
	"cmp"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"slices"
	"strings"

	"github.com/xdg-go/scram"
)

// The responses to a name without a user must not differ from those to a user: SCRAM
// sends a salt and an iteration count first, and PLAIN takes as long as the iterations.
// So each name without a user borrows a line of the file:
//
//	name ─hash─▶ a place on a ring of all lines ─▶ the next line: hash, iterations, form of the salt
//	                                            └▶ the next three lines: the key that makes the salt
//
// All of it follows from the name and the file. So it is the same at every listener and
// replica with that file, and after a restart, and the iteration counts of names without
// a user are distributed like those of users.
//
// The key is secret, because stored and server keys are. A client that knows the password of
// a line knows its keys, and could recognise the salts that follow from it: hence three
// lines.
//
// When the file changes, real salts stay. So should the others, or their change would
// identify them. A line that is added, removed or changed moves only the names in front
// of it on the ring: three of all names by the number of lines. A key made of the whole
// file would move all of them at once.
//
// Two leaks remain. A client that asks for the same names before and after a change sees
// that share of them change, while real ones change only with a new password. And the
// users of three neighbouring lines can together identify their share of the names.

// ring has the lines of one mechanism, in the order of their places.
type ring []spot

// spot is a line on a ring.
type spot struct {
	at    uint64
	hash  string // "SHA-256" or "SHA-512"
	keys  scram.StoredCredentials
	named string
}

// keyLines is how many lines the key of a salt depends on.
const keyLines = 3

// add puts a line on the ring. Its place follows from its keys, so that only parties with
// the keys know it.
func (r ring) add(user, hash string, keys scram.StoredCredentials) ring {
	mac := hmac.New(sha256.New, keys.ServerKey)
	_, _ = mac.Write([]byte("kproxy: place\x00" + hash + "\x00" + user))
	_, _ = mac.Write(keys.StoredKey)
	return append(r, spot{binary.BigEndian.Uint64(mac.Sum(nil)), hash, keys, user})
}

func (r ring) sort() {
	slices.SortFunc(r, func(a, b spot) int { return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.named, b.named)) })
}

// emptyFile stands for the lines of a file without any. There is no user to distinguish.
var emptyFile = spot{hash: "SHA-512", keys: scram.StoredCredentials{
	KeyFactors: scram.KeyFactors{Salt: strings.Repeat("\x00", saltLen), Iters: DefaultIterations},
}}

// makeUp returns the credentials for responses to a name without a user. It takes equally
// long for every name.
func (r ring) makeUp(name string) (hash string, c scram.StoredCredentials) {
	if len(r) == 0 {
		r = ring{emptyFile}
	}
	sum := sha256.Sum256([]byte("kproxy: name\x00" + name))
	first, _ := slices.BinarySearchFunc(r, binary.BigEndian.Uint64(sum[:]), func(s spot, at uint64) int { return cmp.Compare(s.at, at) })
	var secret []byte
	for i := range min(keyLines, len(r)) {
		keys := r[(first+i)%len(r)].keys
		secret = append(append(secret, keys.StoredKey...), keys.ServerKey...)
	}
	borrowed := r[first%len(r)]
	c.Iters = borrowed.keys.Iters
	c.Salt = likeSalt(borrowed.keys.Salt, secret, name)
	c.StoredKey, c.ServerKey = make([]byte, hashes[borrowed.hash].size), make([]byte, hashes[borrowed.hash].size)
	_, _ = rand.Read(c.StoredKey) // never fails; no proof fits it
	return borrowed.hash, c
}

const (
	// Kafka's own tools make a salt of kafkaBits random bits, which they write as a number
	// with 36 digits. All but one in 36^5 salts have at least kafkaLeast digits.
	kafkaBits  = 130
	kafkaLeast = 21
	kafkaMost  = 26
	// maxMadeUp is the longest that HKDF makes with SHA-256, in bytes. Real salts have a
	// few tens of bytes.
	maxMadeUp = 255 * sha256.Size
)

const digits = "0123456789abcdefghijklmnopqrstuvwxyz"

// likeSalt makes a salt of the length and the form of another.
func likeSalt(other string, secret []byte, name string) string {
	made, err := hkdf.Key(sha256.New, secret, nil, "kproxy: salt\x00"+name, min(len(other), maxMadeUp))
	if err != nil {
		return other // not reached: HKDF makes that many bytes
	}
	switch {
	case strings.Trim(other, digits) != "":
	case len(other) >= kafkaLeast && len(other) <= kafkaMost:
		number := new(big.Int).SetBytes(made)
		return number.Rsh(number, uint(8*len(made)-kafkaBits)).Text(len(digits))
	default:
		for i := range made {
			made[i] = digits[int(made[i])%len(digits)]
		}
	}
	return string(made)
}
