package main

import (
	"errors"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"kproxy/internal/namelab"
	"kproxy/internal/racelab"
)

// waiting has more tests run at once than there are processors: those that are parallel mostly wait.
type waiting struct{ *testing.M }

func (w waiting) Run() int {
	racelab.WaitTogether()
	return w.M.Run()
}

func TestMain(m *testing.M) {
	namelab.Use()
	testscript.Main(waiting{m}, map[string]func(){"kproxy": main})
}

// TestScripts runs the binary as a user does. Each script states the output on stdout
// and stderr, and the exit code.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits is exec for a program that must end with this exit code: exits 2 kproxy check.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}
