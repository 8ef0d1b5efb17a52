package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// Each file in testdata/clientfiles is a client's configuration with a mistake, or with
// an entry that is easily taken for one. Its golden file has the exit code of connect and
// its messages about the file: FILE:LINE: key: problem; fix.
func TestClientFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/clientfiles/*.properties")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".properties"), func(t *testing.T) {
			// No argument leads to a cluster: the only other message is that a port is
			// wrong.
			var stdout, stderr bytes.Buffer
			code := run([]string{"connect", "--config-from", file, "--port", "-1"}, &stdout, &stderr)
			if code != exitUsage || stdout.Len() > 0 {
				t.Errorf("exit code %d, stdout %q", code, stdout.String())
			}
			var got strings.Builder
			for line := range strings.Lines(stderr.String()) {
				line = strings.TrimPrefix(line, "kproxy: ")
				if !strings.HasPrefix(line, "--port: ") {
					got.WriteString(strings.ReplaceAll(line, "testdata/clientfiles/", ""))
				}
				if utf8.RuneCountInString(line) > 300 {
					t.Errorf("%d characters: %s", utf8.RuneCountInString(line), line)
				}
			}
			if strings.Contains(got.String(), "hunter2") {
				t.Errorf("a secret is printed: %s", got.String())
			}
			golden := strings.TrimSuffix(file, ".properties") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got.String() != string(want) {
				t.Errorf("got\n%swant\n%s%v", got.String(), want, err)
			}
		})
	}
}
