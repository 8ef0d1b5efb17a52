package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// everyCommand calls f for each command that a user can run, with its words.
func everyCommand(f func(words []string, cmd *cobra.Command)) {
	root := newRootCommand()
	strictCompletion(root)
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		f(strings.Fields(cmd.CommandPath())[1:], cmd)
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(root)
}

// flagsOf are a command's own flags.
func flagsOf(cmd *cobra.Command) (flags []*pflag.Flag) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { flags = append(flags, f) })
	return flags
}

// runWith runs kproxy, which must end with code, and returns its output.
func runWith(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if got := run(args, &out, &errs); got != code {
		t.Errorf("kproxy %s: exit code %d, want %d: %s", strings.Join(args, " "), got, code, errs.String())
	}
	return out.String(), errs.String()
}

// Help fits into a terminal of 80 columns, and names each flag once.
func TestHelp(t *testing.T) {
	everyCommand(func(words []string, cmd *cobra.Command) {
		help, _ := runWith(t, exitDone, append(words, "--help")...)
		for line := range strings.Lines(help) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > helpWidth {
				t.Errorf("kproxy %s --help: %d columns: %s", strings.Join(words, " "), n, line)
			}
		}
		for _, part := range []string{"\nUsage:\n", " --help"} {
			if strings.Count(help, part) == 0 {
				t.Errorf("kproxy %s --help has no %q:\n%s", strings.Join(words, " "), part, help)
			}
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") || len(cmd.Short) > 66 {
			t.Errorf("%s: %q", cmd.CommandPath(), cmd.Short)
		}
	})
}

// Commands and flags stand in groups.
func TestHelpHasGroups(t *testing.T) {
	for command, want := range map[string][]string{
		"":        {"Use a cluster from this machine:\n  connect ", "Run a proxy for others:\n  check ", "Other commands:\n  completion "},
		"connect": {"\nFrom a client's configuration:\n", "\nTLS to the brokers:\n", "\nLogin at the brokers", "\nThe way to the brokers:\n", "\nWhere kproxy listens:\n"},
		"doctor":  {"\nTLS to the brokers:\n"},
	} {
		help, _ := runWith(t, exitDone, append(strings.Fields(command), "--help")...)
		for _, part := range want {
			if !strings.Contains(help, part) {
				t.Errorf("%s --help has no %q:\n%s", command, part, help)
			}
		}
	}
}

// Completion offers values of flags, and no files where no file is expected.
func TestCompletion(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"connect --sasl|", "PLAIN\nSCRAM-SHA-256\nSCRAM-SHA-512\nOAUTHBEARER\nAWS_MSK_IAM\n:4\n"},
		{"doctor --sasl|S", "PLAIN\nSCRAM-SHA-256\nSCRAM-SHA-512\nOAUTHBEARER\nAWS_MSK_IAM\n:4\n"},
		{"connect --via|", "ssh://\nsocks5://\nhttp://\nhttps://\nexec:\n:6\n"},
		{"serve --config|", "yaml\nyml\n:8\n"},
		{"connect --ca|", "pem\ncrt\ncer\n:8\n"},
		{"connect --username|", ":4\n"},
		{"connect|", ":4\n"},
		{"passwd --mechanism|", "SCRAM-SHA-512\nSCRAM-SHA-256\n:4\n"},
		{"health --admin|", "http://127.0.0.1:9400\nhttps://\n:6\n"},
		{"man|", ":16\n"},
		{"doct|", ""},
	} {
		words, last, _ := strings.Cut(tt.args, "|")
		got, _ := runWith(t, exitDone, append(append([]string{cobra.ShellCompNoDescRequestCmd}, strings.Fields(words)...), last)...)
		if tt.want != "" && got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.args, got, tt.want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		script, _ := runWith(t, exitDone, "completion", shell)
		if !strings.Contains(script, "kproxy") {
			t.Errorf("%s: %.200s", shell, script)
		}
	}
	runWith(t, exitUsage, "completion", "tcsh")
	runWith(t, exitUsage, "completion", "bash", "more")
}

// Every flag has a defined completion: by values, by files if its value is one, or none.
func TestEveryFlagHasACompletion(t *testing.T) {
	everyCommand(func(_ []string, cmd *cobra.Command) {
		for _, f := range flagsOf(cmd) {
			_, has := cmd.GetFlagCompletionFunc(f.Name)
			isFile := strings.Contains(strings.ToUpper(f.Usage), "`FILE`")
			if f.Value.Type() != "bool" && !has && !isFile {
				t.Errorf("%s --%s", cmd.CommandPath(), f.Name)
			}
		}
	})
}

// There is a manual page for each command, with each of its flags.
func TestMan(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	dir := filepath.Join(t.TempDir(), "new", "man1")
	runWith(t, exitDone, "man", dir)
	commands := 0
	everyCommand(func(_ []string, cmd *cobra.Command) {
		commands++
		page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"))
		if err != nil {
			t.Error(err)
			return
		}
		for _, f := range flagsOf(cmd) {
			if !bytes.Contains(page, []byte(`\fB--`+f.Name+`\fP`)) {
				t.Errorf("%s(1) has no --%s", cmd.CommandPath(), f.Name)
			}
		}
		if !bytes.Contains(page, []byte("Nov 2023")) || bytes.Contains(page, []byte("Auto generated")) {
			t.Errorf("%s(1) is not the same in every build", cmd.CommandPath())
		}
	})
	if pages, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(pages) != commands {
		t.Errorf("%d pages for %d commands, %v", len(pages), commands, err)
	}
	page, _ := runWith(t, exitDone, "man")
	if !strings.Contains(page, ".TH \"KPROXY\" \"1\"") || !strings.Contains(page, `\fBkproxy COMMAND\fP`) || strings.Contains(page, "[=false]") {
		t.Errorf("kproxy(1) is %s", page)
	}
	everyCommand(func(_ []string, cmd *cobra.Command) {
		if entry := `\fB` + cmd.CommandPath() + "\\fP\n\t" + cmd.Short; cmd.HasParent() && cmd.Parent() == cmd.Root() && !strings.Contains(page, entry) {
			t.Errorf("kproxy(1) does not describe %s", cmd.CommandPath())
		}
	})
	runWith(t, exitUsage, "man", "a", "b")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	runWith(t, exitFailed, "man", file)
}

// --version is the version command.
func TestVersionFlag(t *testing.T) {
	flag, _ := runWith(t, exitDone, "--version")
	command, _ := runWith(t, exitDone, "version")
	if flag != command || !strings.HasPrefix(flag, "kproxy ") {
		t.Errorf("got %q and %q", flag, command)
	}
}
