package auth

import (
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// A message that passes the check is computed within its bounds, without a panic.
func FuzzServerFirst(f *testing.F) {
	for _, text := range []string{"s=c2FsdA==,i=4096", "s=c2FsdA==,i=2147483647", "s=c2FsdA==,x=4096", "s=c2FsdA==,", "", "s=,i=4096,i=9", ",,,"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		by := scram.Auth{User: "u", Pass: "p", Nonce: []byte("nonce")}
		session, first, err := by.AsSha256Mechanism().Authenticate(t.Context(), "b:9092")
		if err != nil {
			t.Fatal(err)
		}
		_, nonce, _ := strings.Cut(string(first), ",r=")
		token := []byte("r=" + nonce + "," + rest)
		if checkServerFirst(token) != nil || len(rest) > 1000 {
			return
		}
		count := strings.Split(rest, ",")[1]
		n, err := strconv.Atoi(strings.TrimPrefix(count, "i="))
		if err != nil || n < MinIterations || n > maxIterations {
			t.Fatalf("%q passes", rest)
		}
		if n > 2*MinIterations {
			return // takes long
		}
		_, _, _ = session.Challenge(token)
	})
}
