package auth

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// manyLines is a users file of n users with keys that no password has, in the shapes
// that different tools make.
func manyLines(n int, seed uint64) []string {
	random := rand.NewChaCha8([32]byte{byte(seed)})
	text := func(size int) string {
		b := make([]byte, size)
		_, _ = random.Read(b)
		return base64.StdEncoding.EncodeToString(b)
	}
	var all []string
	for i := range n {
		iterations, salt, size := 4096, text(24), 32
		hash := "SHA-256"
		switch i % 4 {
		case 1:
			iterations, hash, size = 8192, "SHA-512", 64
		case 2:
			iterations, salt = 16384, text(12)
		case 3:
			iterations, salt = 65536, base64.StdEncoding.EncodeToString([]byte("1a2b3c4d5e6f7g8h9i0jklmnop")) // Kafka's own
		}
		all = append(all, fmt.Sprintf("user-%d: %s: salt=%s,stored_key=%s,server_key=%s,iterations=%d", i, hash, salt, text(size), text(size), iterations))
	}
	return all
}

func mustParse(t *testing.T, lines []string) *roster {
	t.Helper()
	r, err := parseRoster([]byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// shown is the part of SCRAM that a client sees of a name.
func (r *roster) shown(mechanism, name string) string {
	c := r.stored(mechanism, name)
	return fmt.Sprintf("%x %d", c.Salt, c.Iters)
}

// The credentials of a name depend on the name and the file, and not on the order of its
// lines. So they are the same at all listeners and replicas, and after a restart.
func TestMadeUpSaltsAreTheSameEverywhere(t *testing.T) {
	t.Parallel()
	lines := manyLines(50, 1)
	one := mustParse(t, lines)
	slices.Reverse(lines)
	other := mustParse(t, append([]string{"# comments are nothing", ""}, lines...))
	seen := map[string]bool{}
	for i := range 1000 {
		name := fmt.Sprint("nobody-", i)
		for _, mechanism := range []string{ScramSHA256, ScramSHA512} {
			if a, b := one.shown(mechanism, name), other.shown(mechanism, name); a != b {
				t.Fatalf("%s: got %s and %s", name, a, b)
			}
		}
		if seen[one.shown(ScramSHA256, name)] {
			t.Fatalf("%s has the salt of another", name)
		}
		seen[one.shown(ScramSHA256, name)] = true
	}
	// Without the keys the credentials cannot be computed, even if the rest of the lines
	// is known.
	stranger := mustParse(t, manyLines(50, 2))
	if one.shown(ScramSHA256, "nobody") == stranger.shown(ScramSHA256, "nobody") {
		t.Error("the salt does not depend on the keys")
	}
}

// Names without a user have iteration counts, salt lengths and salt forms in about the
// same shares as users, by SCRAM and by PLAIN.
func TestMadeUpLinesAreLikeReal(t *testing.T) {
	t.Parallel()
	r := mustParse(t, manyLines(400, 1))
	const names = 4000
	iterations, plain, forms := map[int]int{}, map[string]int{}, map[string]int{}
	for i := range names {
		name := fmt.Sprint("nobody-", i)
		c := r.stored(ScramSHA256, name)
		iterations[c.Iters]++
		form := fmt.Sprint(len(c.Salt))
		if strings.Trim(c.Salt, digits) == "" {
			if form = "Kafka"; len(c.Salt) == 26 && c.Salt[0] != '1' || len(c.Salt) > 26 {
				t.Errorf("Kafka makes no salt %s: it is more than 130 bits", c.Salt)
			}
		}
		forms[fmt.Sprint(form, " ", c.Iters)]++
		hash, p, known := r.password(name)
		if known {
			t.Fatalf("%s is a user", name)
		}
		plain[fmt.Sprint(hash, " ", p.Iters)]++
	}
	for _, shares := range []map[string]int{
		{"4096": iterations[4096], "16384": iterations[16384], "65536": iterations[65536]},
		plain, forms,
	} {
		fair := names / len(shares)
		for what, n := range shares {
			if n < fair/2 || n > fair*2 {
				t.Errorf("%s: %d of %d names, want about %d: %v", what, n, names, fair, shares)
			}
		}
	}
	if len(iterations) != 3 || len(plain) != 4 || len(forms) != 3 {
		t.Errorf("got %v, %v and %v", iterations, plain, forms)
	}
}

// A line added or removed, or a new password, moves few names.
func TestMadeUpSaltsStayWhenTheFileChanges(t *testing.T) {
	t.Parallel()
	lines := manyLines(100, 1)
	before := mustParse(t, lines)
	const names = 2000
	for what, after := range map[string]*roster{
		"one more":       mustParse(t, append(slices.Clone(lines), strings.Replace(manyLines(1, 3)[0], "user-0", "carl", 1))),
		"one less":       mustParse(t, lines[:99]),
		"a new password": mustParse(t, append(slices.Clone(lines[:99]), manyLines(100, 3)[99])),
	} {
		moved := 0
		for i := range names {
			if name := fmt.Sprint("nobody-", i); before.shown(ScramSHA256, name) != after.shown(ScramSHA256, name) {
				moved++
			}
		}
		if moved == 0 || moved > names/4 {
			t.Errorf("%s: %d of %d names have another salt", what, moved, names)
		}
	}
}

func TestMadeUpWithoutLines(t *testing.T) {
	t.Parallel()
	r := mustParse(t, nil)
	if c := r.stored(ScramSHA512, "nobody"); c.Iters != DefaultIterations || len(c.Salt) != saltLen {
		t.Errorf("got %+v", c)
	}
	only := mustParse(t, manyLines(1, 1)) // SHA-256
	if c := only.stored(ScramSHA512, "user-0"); c.Iters != 4096 {
		t.Errorf("got %+v", c)
	}
}
