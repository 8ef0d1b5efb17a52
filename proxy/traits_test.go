package proxy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every constant of reason.go has its traits, and nothing else has.
func TestEveryReasonHasTraits(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	constants := 0
	for _, decl := range file.Decls {
		if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.CONST {
			for _, spec := range d.Specs {
				constants += len(spec.(*ast.ValueSpec).Names)
			}
		}
	}
	if constants == 0 || len(traitsOf) != constants {
		t.Errorf("%d reasons have traits, and there are %d", len(traitsOf), constants)
	}
}

// To a client a reset means that the broker is down. The proxy must not send one for a mistake
// of the client, nor after a broker has responded.
func TestResetsOfReasons(t *testing.T) {
	for reason, want := range map[CloseReason]resetWhen{
		DialFailed: resetAlways, BrokerRefusedTLS: resetAlways, TooManyLogins: resetAlways,
		BrokerReset: resetUnheard, PeerGone: resetUnheard, Drained: resetUnheard,
		Relearn: resetBeforeLogin, BrokerMoved: resetBeforeLogin, OtherCluster: resetBeforeLogin,
		BrokerClosed: resetUnheardByCommand,
		ClientLogin:  resetNever, BrokerLogin: resetNever, BadRequest: resetNever,
	} {
		if got := traitsOf[reason].reset; got != want {
			t.Errorf("%s: got %d, want %d", reason, got, want)
		}
	}
	for reason, traits := range traitsOf {
		if traits.asked && (!traits.linger || traits.level != slog.LevelInfo) {
			t.Errorf("%s: kproxy chose it, so clients get all their responses and nothing is wrong: %+v", reason, traits)
		}
		if traits.reset == resetAlways && traits.linger {
			t.Errorf("%s: a connection that is reset cannot linger", reason)
		}
	}
}

// docs/ends.md has every reason, with its level; docs/tls.md has those of handshakes.
func TestEveryReasonIsInTheDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/ends.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|.*\\| ([a-z]+) \\|$")
	got := map[CloseReason]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		got[CloseReason(m[1])] = m[2]
	}
	for reason, traits := range traitsOf {
		if strings.HasPrefix(string(reason), "tls_") {
			if !strings.Contains(string(text), "`"+string(reason)+"`") {
				t.Errorf("%s is not among those of TLS", reason)
			}
		} else if want := strings.ToLower(traits.level.String()); got[reason] != want {
			t.Errorf("%s: the level is %q, want %q", reason, got[reason], want)
		}
		delete(got, reason)
	}
	if len(got) > 0 {
		t.Errorf("there are no reasons %v", got)
	}
}
