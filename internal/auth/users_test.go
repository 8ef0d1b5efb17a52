package auth_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kproxy/internal/auth"
)

// good is a valid line, with keys that belong to no password.
const good = "alice: SHA-256: salt=c2FsdHNhbHQ=,stored_key=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,server_key=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,iterations=4096"

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUsersFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users")
	for name, tt := range map[string]struct{ text, want string }{
		"nobody":         {"", ""},
		"a user":         {good, ""},
		"comments":       {"# who\n\n  " + good + "  \r\n", ""},
		"no hash":        {"alice", `line 1: behind "alice" there is no SHA-256 or SHA-512`},
		"another hash":   {"\nalice: SHA-1: salt=", `line 2: behind "alice"`},
		"no user":        {": SHA-256: salt=", "line 1: it begins with no user's name"},
		"twice":          {good + "\n" + good, `line 2: "alice" is there already`},
		"a password":     {"alice: SHA-256: password=pa55word", "found something other than salt"},
		"no salt":        {strings.Replace(good, "c2FsdHNhbHQ=", "", 1), "there is no salt"},
		"not base64":     {strings.Replace(good, "c2FsdHNhbHQ=", "!", 1), "salt cannot be read"},
		"a short key":    {strings.Replace(good, "AAAA", "", 1), "do not have the 32 bytes"},
		"other key":      {strings.Replace(good, "SHA-256", "SHA-512", 1), "do not have the 64 bytes"},
		"few iterations": {strings.Replace(good, "4096", "4095", 1), "iterations is not between 4096"},
		"for ever":       {strings.Replace(good, "4096", "2000000000", 1), "iterations is not between 4096"},
		"two salts":      {good + ",salt=", "salt is there twice"},
	} {
		put(t, file, tt.text)
		_, err := auth.NewUsers(t.Context(), file, auth.UserMechanisms(), nil)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "pa55word")):
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}

func TestUserLines(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		user, password, mechanism string
		iterations                int
	}{
		{"", "x", auth.ScramSHA256, 4096},
		{"a:b", "x", auth.ScramSHA256, 4096},
		{" a", "x", auth.ScramSHA256, 4096},
		{"#a", "x", auth.ScramSHA256, 4096},
		{"a", "", auth.ScramSHA256, 4096},
		{"a", "x", auth.Plain, 4096},
		{"a", "x", auth.ScramSHA256, 4095},
		{"a\nb", "x", auth.ScramSHA256, 4096},
	} {
		if line, err := auth.UserLine(tt.user, tt.password, tt.mechanism, tt.iterations); err == nil {
			t.Errorf("%+v: got %s", tt, line)
		}
	}
}

// says reports whether a user's password is accepted.
func says(t *testing.T, u *auth.Users, user, text string) bool {
	t.Helper()
	c, err := u.Begin(auth.Plain, auth.Peer{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Step(t.Context(), []byte("\x00"+user+"\x00"+text))
	return err == nil && c.Done() && c.User() == user
}

// A changed file changes the users; an invalid one changes nothing.
func TestUsersAreReadAgain(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users")
	line := func(user string) string {
		text, err := auth.UserLine(user, password, auth.ScramSHA256, auth.MinIterations)
		if err != nil {
			t.Fatal(err)
		}
		return text + "\n"
	}
	put(t, file, line("alice"))
	var failed atomic.Int64
	u, err := auth.NewUsers(t.Context(), file, []string{auth.Plain}, func(error) { failed.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	if !says(t, u, "alice", password) || says(t, u, "bob", password) || says(t, u, "alice", "x") {
		t.Error("alice alone may come in")
	}
	put(t, file, line("alice")+line("bob"))
	if !says(t, u, "bob", password) {
		t.Error("bob may come in now")
	}
	put(t, file, "rubbish")
	if !says(t, u, "bob", password) || !says(t, u, "alice", password) || failed.Load() != 1 {
		t.Errorf("a bad file changes something, or is reported %d times", failed.Load())
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if !says(t, u, "bob", password) || failed.Load() != 2 {
		t.Errorf("a missing file changes something, or is reported %d times", failed.Load())
	}
	put(t, file, line("bob"))
	if says(t, u, "alice", password) || !says(t, u, "bob", password) {
		t.Error("bob alone may come in")
	}
	swap := file + ".new" // as Kubernetes and editors replace a file
	put(t, swap, line("carl"))
	if err := os.Chtimes(swap, time.Now(), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(swap, file); err != nil {
		t.Fatal(err)
	}
	if !says(t, u, "carl", password) {
		t.Error("carl may come in now")
	}
}

// The first response of SCRAM does not show whether a user exists: for a name without a
// user it is the same each time, and of the same form.
func TestNobodyTellsUsersFromOthers(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users")
	put(t, file, good)
	u, err := auth.NewUsers(t.Context(), file, auth.UserMechanisms(), nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := auth.NewUsers(t.Context(), file, auth.UserMechanisms(), nil) // of another listener, replica or start
	if err != nil {
		t.Fatal(err)
	}
	first := func(u *auth.Users, user string) string {
		c, err := u.Begin(auth.ScramSHA256, auth.Peer{})
		if err != nil {
			t.Fatal(err)
		}
		response, err := c.Step(t.Context(), []byte("n,,n="+user+",r=nonce"))
		if err != nil {
			t.Fatal(err)
		}
		_, salted, _ := strings.Cut(string(response), ",")
		return salted
	}
	for _, user := range []string{"nobody", "alice"} {
		if a, b, c := first(u, user), first(u, user), first(other, user); a != b || a != c || a == first(u, "somebody") || !strings.HasSuffix(a, ",i=4096") {
			t.Errorf("%s: got %s, %s, and elsewhere %s", user, a, b, c)
		}
	}
}

// A long token is refused before anything of it is kept: a login holds the first one until it
// is over.
func TestLongTokensAreRefused(t *testing.T) {
	t.Parallel()
	const most = 4096
	file := filepath.Join(t.TempDir(), "users")
	put(t, file, good)
	u, err := auth.NewUsers(t.Context(), file, auth.UserMechanisms(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, mechanism := range auth.UserMechanisms() {
		for size, text := range map[int]string{most: "", most + 1: "more than 4096 bytes"} {
			c, err := u.Begin(mechanism, auth.Peer{})
			if err != nil {
				t.Fatal(err)
			}
			token := "n,,n=alice,r="
			if mechanism == auth.Plain {
				token = "\x00alice\x00"
			}
			token += strings.Repeat("x", size-len(token))
			_, err = c.Step(t.Context(), []byte(token))
			refused, ok := errors.AsType[*auth.RefusedError](err)
			if tooLong := ok && strings.Contains(refused.Error(), "a SASL token of"); tooLong != (text != "") || tooLong && !strings.Contains(refused.Error(), text) {
				t.Errorf("%s, a token of %d bytes: %v", mechanism, size, err)
			}
		}
	}
}

func FuzzUsersFile(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: SHA-512: salt=,,=,iterations=99999999999999999999"))
	file := filepath.Join(f.TempDir(), "users")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		u, err := auth.NewUsers(t.Context(), file, auth.UserMechanisms(), nil)
		if err != nil {
			return
		}
		if says(t, u, "nobody-who-is-there", "x") {
			t.Error("no user has logged in")
		}
	})
}

// A client logs in only with the password, whatever it sends.
func FuzzTokens(f *testing.F) {
	line, err := auth.UserLine("alice", password, auth.ScramSHA256, auth.MinIterations)
	if err != nil {
		f.Fatal(err)
	}
	file := filepath.Join(f.TempDir(), "users")
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		f.Fatal(err)
	}
	u, err := auth.NewUsers(context.Background(), file, auth.UserMechanisms(), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(0), []byte("\x00alice\x00x"), []byte(nil))
	f.Add(uint8(1), []byte("n,,n=alice,r=n"), []byte("c=biws,r=n,p=AAAA"))
	f.Add(uint8(2), []byte("n,a=x,n=alice,r=n"), []byte("c=,r=,p="))
	f.Add(uint8(1), []byte("p=tls-unique,,n=alice,r=n"), []byte("e=x"))
	f.Fuzz(func(t *testing.T, which uint8, first, second []byte) {
		mechanisms := auth.UserMechanisms()
		c, err := u.Begin(mechanisms[int(which)%len(mechanisms)], auth.Peer{})
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range [][]byte{first, second} {
			if _, err := c.Step(t.Context(), token); err != nil {
				break
			}
		}
		if c.Done() && !strings.Contains(string(first), password) {
			t.Errorf("% x and % x log in", first, second)
		}
	})
}
