package proxy_test

import (
	"os/exec"
	"strings"
	"testing"
)

// A program that imports the public packages does not link the libraries of parts that it
// does not import.
func TestPublicPackagesLinkNoParts(t *testing.T) {
	t.Parallel()
	list := func(packages ...string) []string {
		out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps"}, packages...)...).Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		return strings.Fields(string(out))
	}
	linked := func(deps []string, library string) (found []string) {
		for _, path := range deps {
			if path == library || strings.HasPrefix(path, library+"/") {
				found = append(found, path)
			}
		}
		return found
	}
	public, parts := list(".", "./config", "../rewrite"), list("./aws", "./ssh")
	for _, library := range []string{"github.com/aws", "golang.org/x/crypto/ssh", "github.com/skeema/knownhosts"} {
		if got := linked(public, library); len(got) > 0 {
			t.Errorf("the public packages link %s", strings.Join(got, ", "))
		}
		if len(linked(parts, library)) == 0 {
			t.Errorf("the parts do not link %s: the test looks for the wrong path", library)
		}
	}
}
