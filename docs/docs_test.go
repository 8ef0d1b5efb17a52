// Package docs holds the Markdown pages of the tree to each other and to the code.
package docs

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the top of the tree.
const root = ".."

// TestIndex holds docs/README.md to the pages: each is linked.
func TestIndex(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 15 {
		t.Fatalf("found %d pages", len(pages))
	}
	linked := map[string]bool{}
	for _, l := range links(read(t, "README.md")) {
		page, _, _ := strings.Cut(l, "#")
		linked[page] = true
	}
	for _, page := range pages {
		if page != "README.md" && !linked[page] {
			t.Errorf("docs/README.md does not link %s", page)
		}
	}
}

// TestLinks follows every relative link in every Markdown file, and its anchor.
func TestLinks(t *testing.T) {
	followed := 0
	for _, page := range files(t, ".md") {
		for _, l := range links(read(t, page)) {
			if strings.Contains(l, "://") || strings.HasPrefix(l, "mailto:") {
				continue
			}
			followed++
			follow(t, page, l)
		}
	}
	if followed < 100 {
		t.Errorf("only %d links were followed", followed)
	}
}

// TestMentions holds what code, samples and the Makefile say of the pages: docs/tls.md and
// docs/listeners.md#logins are there.
func TestMentions(t *testing.T) {
	mention := regexp.MustCompile(`\bdocs/[a-z-]+\.md(?:#[a-z0-9_-]+)?`)
	found := 0
	for _, file := range append(files(t, ".go", ".yaml"), filepath.Join(root, "Makefile")) {
		for _, m := range mention.FindAllString(string(read(t, file)), -1) {
			found++
			follow(t, filepath.Join(root, "a file of the root"), m)
		}
	}
	if found < 10 {
		t.Errorf("only %d mentions of pages were found", found)
	}
}

// follow reports a link in a page whose file or anchor is missing.
func follow(t *testing.T, page, link string) {
	t.Helper()
	file, anchor, _ := strings.Cut(link, "#")
	target := page
	if file != "" {
		target = filepath.Join(filepath.Dir(page), file)
	}
	if _, err := os.Stat(target); err != nil {
		t.Errorf("%s: the link %s leads nowhere", page, link)
		return
	}
	if anchor != "" && !slices.Contains(anchors(read(t, target)), anchor) {
		t.Errorf("%s: the link %s: there is no #%s", page, link, anchor)
	}
}

// TestSecurityNamesTestsThatExist holds docs/security.md to the tests that it names.
func TestSecurityNamesTestsThatExist(t *testing.T) {
	defined := map[string]bool{}
	for _, names := range testsByPackage(t) {
		for name := range names {
			defined[name] = true
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(string(read(t, "security.md")), -1)
	for _, name := range named {
		if !defined[name[1]] {
			t.Errorf("docs/security.md names %s, and there is no such test", name[1])
		}
	}
	if len(named) < 50 {
		t.Errorf("only %d tests are named", len(named))
	}
}

// TestFilesNamesFiles holds docs/files.md: each file that it names is in its package, or below it.
func TestFilesNamesFiles(t *testing.T) {
	all := files(t, ".go")
	name := regexp.MustCompile(`[a-z0-9_*]+\.go\b`)
	named, dir := 0, ""
	for line := range strings.Lines(string(read(t, "files.md"))) {
		if word, _, _ := strings.Cut(line, " "); strings.Trim(word, "\n") != "" {
			dir = filepath.Join(root, strings.TrimSuffix(word, ","))
		}
		for _, want := range name.FindAllString(line, -1) {
			named++
			if !slices.ContainsFunc(all, func(path string) bool {
				is, err := filepath.Match(want, filepath.Base(path))
				return err == nil && is && strings.HasPrefix(path, dir)
			}) {
				t.Errorf("docs/files.md has %s in %s, and there is no such file", want, dir)
			}
		}
	}
	if named < 100 {
		t.Errorf("only %d files are named", named)
	}
}

// TestInvariantsNameTests holds docs/invariants.md: each item names the tests that hold it,
// with their packages, or says "no test".
func TestInvariantsNameTests(t *testing.T) {
	defined := testsByPackage(t)
	var items []string
	for line := range strings.Lines(string(read(t, "invariants.md"))) {
		switch {
		case strings.HasPrefix(line, "- **"):
			items = append(items, line)
		case strings.HasPrefix(line, "  ") && len(items) > 0: // the item goes on
			items[len(items)-1] += line
		}
	}
	if len(items) < 50 {
		t.Errorf("found %d invariants", len(items))
	}
	held := regexp.MustCompile(`\*Held by: (.*)\*$|\*No test\.\*$`)
	named := regexp.MustCompile("`([a-zA-Z0-9_/]+)\\.((?:Test|Fuzz|Example)\\w*)`")
	for _, item := range items {
		item = strings.Join(strings.Fields(item), " ")
		by := held.FindStringSubmatch(item)
		if by == nil {
			t.Errorf("an invariant ends neither with *Held by …* nor with *No test.*:\n%s", item)
			continue
		}
		tests := named.FindAllStringSubmatch(by[1], -1)
		if by[1] != "" && len(tests) == 0 {
			t.Errorf("an invariant names no test:\n%s", item)
		}
		for _, name := range tests {
			if !defined[name[1]][name[2]] {
				t.Errorf("docs/invariants.md: package %s has no %s; it is in %q", name[1], name[2], packagesOf(defined, name[2]))
			}
		}
	}
}

// packagesOf are the packages that have a test of that name.
func packagesOf(defined map[string]map[string]bool, test string) []string {
	var packages []string
	for name, tests := range defined {
		if tests[test] {
			packages = append(packages, name)
		}
	}
	return packages
}

// TestPlainWords holds the pages to words that say who acts.
func TestPlainWords(t *testing.T) {
	vague := regexp.MustCompile(`(?i)\b(whoever|nobody|somebody|everybody|whom)\b`)
	for _, page := range files(t, ".md") {
		for i, line := range strings.Split(string(withoutCode(read(t, page))), "\n") {
			if word := vague.FindString(line); word != "" {
				t.Errorf("%s:%d: %q; name the client, the user or the caller", page, i+1, word)
			}
		}
	}
}

// testsByPackage has the names of the tests in each directory, by its path from the root.
func testsByPackage(t *testing.T) map[string]map[string]bool {
	t.Helper()
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example)\w*)\(`)
	tests := map[string]map[string]bool{}
	for _, file := range files(t, "_test.go") {
		dir, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.ToSlash(dir)
		if tests[dir] == nil {
			tests[dir] = map[string]bool{}
		}
		for _, found := range declaration.FindAllStringSubmatch(string(read(t, file)), -1) {
			tests[dir][found[1]] = true
		}
	}
	return tests
}

// files are the files of the tree with one of these endings, without files that tools
// make or install.
func files(t *testing.T, endings ...string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch entry.Name() {
			case ".git", ".cache", "dist", "vendor", "node_modules":
				return fs.SkipDir
			}
			return nil
		}
		if slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(file, e) }) {
			found = append(found, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var (
	fenced  = regexp.MustCompile("(?sm)^ *```.*?^ *```")
	inline  = regexp.MustCompile("`[^`\n]+`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	given   = regexp.MustCompile(`<a (?:id|name)="([^"]+)">`)
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	linked  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// withoutCode blanks code and keeps the lines.
func withoutCode(page []byte) []byte {
	page = fenced.ReplaceAllFunc(page, func(block []byte) []byte {
		return bytes.Repeat([]byte("\n"), bytes.Count(block, []byte("\n")))
	})
	return inline.ReplaceAll(page, nil)
}

// links are the targets of the links in a page.
func links(page []byte) []string {
	var targets []string
	for _, m := range link.FindAllSubmatch(withoutCode(page), -1) {
		targets = append(targets, string(m[1]))
	}
	return targets
}

// anchors are those that GitHub makes of the headings, and those that the page gives.
func anchors(page []byte) []string {
	var all []string
	seen := map[string]int{}
	for _, m := range heading.FindAllSubmatch(fenced.ReplaceAll(page, nil), -1) {
		text := linked.ReplaceAllString(string(m[1]), "$1")
		slug := strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(text), ""), " ", "-")
		if n := seen[slug]; n > 0 {
			all = append(all, fmt.Sprintf("%s-%d", slug, n))
		} else {
			all = append(all, slug)
		}
		seen[slug]++
	}
	for _, m := range given.FindAllSubmatch(page, -1) {
		all = append(all, string(m[1]))
	}
	return all
}
