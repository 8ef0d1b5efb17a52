package via_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"kproxy/internal/via/viatest"
)

// helperEnv makes the test's binary the command of exec. So the tests need no other
// program.
const helperEnv = "KPROXY_VIA_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) == "" {
		m.Run()
		return
	}
	var status int
	if command := commands[os.Args[1]]; command != nil {
		status = command(os.Args[2:])
	} else {
		status = viatest.Command(os.Args[1:])
	}
	os.Exit(status) //nolint:forbidigo // the command's status
}

// commands are the roles of the test's binary beside viatest.Command, by its first
// argument.
var commands = map[string]func(args []string) int{
	"arguments": func(args []string) int {
		fmt.Printf("[%s]\n", strings.Join(args, "][")) //nolint:forbidigo // the command's output
		return 0
	},
	"complain": func(args []string) int {
		_, _ = fmt.Fprintf(os.Stderr, "one\n%02000d\n\nthree\nfour\n%s\n", 7, strings.Join(args, ""))
		return 7
	},
	"repeat": func([]string) int {
		writePIDs(os.Getpid())
		_, _ = io.Copy(os.Stdout, os.Stdin)
		return 0
	},
	"half-close": func([]string) int {
		_, _ = io.WriteString(os.Stdout, "hello\n")
		_ = os.Stdout.Close()
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	},
	"hand-over": func([]string) int {
		if start(os.Stdin, "repeat") != nil {
			return 1
		}
		return 0
	},
	"leave":  func(args []string) int { return leave(args[0]) },
	"stay":   func([]string) int { return stay() },
	"parent": func(args []string) int { return parent(args[0]) },
	"child":  func(args []string) int { return child(args[0]) },
}

// parent starts a child that shares its output, and stays. Its behaviour is the child's,
// too.
func parent(how string) int {
	obey(how)
	if start(nil, "child", how) != nil {
		return 1
	}
	return stay()
}

// start starts a command of this binary's that has its output too. It is killed with
// its group.
func start(stdin io.Reader, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(self, args...)
	child.Stdin, child.Stdout = stdin, os.Stdout
	return child.Start()
}

// leave fails, and leaves a child behind that holds the output.
func leave(how string) int {
	if start(nil, "stay") != nil {
		return 1
	}
	_, _ = io.WriteString(os.Stdout, "said\n")
	_, _ = io.WriteString(os.Stderr, "why\n")
	if how == "signal" {
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			_ = self.Kill()
		}
		return stay()
	}
	return 3
}

// child prints its process id and its parent's, once both are ready.
func child(how string) int {
	obey(how)
	writePIDs(os.Getpid(), os.Getppid())
	return stay()
}

func obey(how string) {
	switch how {
	case "obstinate":
		signal.Ignore(syscall.SIGTERM)
	case "without-stderr":
		_ = os.Stderr.Close()
	default:
	}
}

// stay is for longer than any test.
func stay() int {
	<-time.After(1000 * time.Second)
	return 0
}

func writePIDs(pids ...int) {
	for _, pid := range pids {
		_, _ = fmt.Fprintln(os.Stdout, pid)
	}
}
