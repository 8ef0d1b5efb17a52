//go:build unix

package via_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kproxy/internal/via"
	"kproxy/internal/via/viatest"
)

// The broker's name is one argument, even if it looks like shell syntax or an option.
func TestExecArguments(t *testing.T) {
	tests := map[string]string{
		"{host} {port}":                      "[b-1.internal][9092]\n",
		`'{"h":"{host}"}' p={port}`:          `[{"h":"b-1.internal"}][p=9092]` + "\n",
		"'echo $0 {host}; echo {port}' x -y": "[echo $0 b-1.internal; echo 9092][x][-y]\n",
	}
	for arguments, want := range tests {
		conn := rig{Dialer: viatest.Dialer(t, via.Config{URL: execLine(t, "arguments "+arguments)})}.connect(t, "b-1.internal:9092")
		if got, err := io.ReadAll(conn); string(got) != want || err != nil {
			t.Errorf("%s: got %q, %v; want %q", arguments, got, err, want)
		}
	}
	conn := rig{Dialer: viatest.Dialer(t, via.Config{URL: execURL(t, "arguments")})}.connect(t, "[::1]:9092")
	if got, err := io.ReadAll(conn); string(got) != "[::1][9092]\n" || err != nil {
		t.Errorf("got %q, %v; want an IPv6 host without brackets", got, err)
	}
}

// The command's standard error is reported line by line, and its end is in the error of a
// command that fails.
func TestExecStderr(t *testing.T) {
	lines := make(chan string, 100)
	c := via.Config{
		URL:      execURL(t, "complain"),
		OnStderr: func(target, line string) { lines <- target + " " + line },
	}
	conn := rig{Dialer: viatest.Dialer(t, c)}.connect(t, "b:9092")
	_, err := conn.Read(make([]byte, 1))
	if err == nil || !strings.Contains(err.Error(), `exit status 7: "three | four | b9092"`) {
		t.Errorf("got %v, want the status and the last lines", err)
	}
	close(lines)
	var got []string
	for line := range lines {
		got = append(got, line)
		if len(line) > 1100 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	if len(got) != 6 || got[0] != "b:9092 one" || got[5] != "b:9092 b9092" {
		t.Errorf("got %q", got)
	}
}

// A command that is killed, or ends by itself, ends its connection; the next dial
// starts another.
func TestExecKilled(t *testing.T) {
	d := viatest.Dialer(t, via.Config{URL: execURL(t, "repeat")})
	for range 2 {
		conn := rig{Dialer: d}.connect(t, "b:9092")
		pid := readNumber(t, conn)
		viatest.Exchange(t, conn, "x")
		_ = syscall.Kill(pid, syscall.SIGKILL)
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("got %v of a command that was killed, want an error that is no orderly end", err)
		}
	}
}

// Close ends the command with all its children, and reaps it. One that does not end is
// killed. It does not wait.
func TestExecCloseEndsTheGroup(t *testing.T) {
	for _, how := range []string{"obedient", "obstinate", "without-stderr"} {
		url := execURL(t, "parent "+how) // sets the environment, which a parallel test must not
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			d := viatest.Dialer(t, via.Config{URL: url})
			conn := rig{Dialer: d}.connect(t, "b:9092")
			child, leader := readNumber(t, conn), readNumber(t, conn)
			start := time.Now()
			conn.Close()
			if took := time.Since(start); took > time.Second {
				t.Errorf("Close took %s", took)
			}
			d.Close() // waits for the end of the group
			for who, pid := range map[string]int{"the command": leader, "its child": child} {
				if alive(pid) {
					t.Errorf("%s is still there", who)
				}
			}
		})
	}
}

// alive reports whether pid runs. A child that init, or its substitute, has not reaped
// yet does not run.
func alive(pid int) bool {
	for range 500 { // a killed process may take a moment
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) {
			if _, err := os.Stat("/proc/self"); err == nil || syscall.Kill(pid, 0) != nil {
				return false
			}
		}
		if _, state, ok := strings.Cut(string(stat), ") "); ok && state[0] == 'Z' {
			return false
		}
		<-time.After(2 * time.Millisecond)
	}
	return true
}

func readNumber(t *testing.T, r io.Reader) int {
	t.Helper()
	var text []byte
	for b := make([]byte, 1); ; {
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatal(err)
		}
		if b[0] == '\n' {
			break
		}
		text = append(text, b[0])
	}
	n, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The failure of a command is noticed although a process that it has left behind holds
// its output. The output before is not lost.
func TestExecFailsAndLeavesSomething(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a process file descriptor")
	}
	for _, end := range []string{"status", "signal"} {
		conn := rig{Dialer: viatest.Dialer(t, via.Config{URL: execURL(t, "leave "+end)})}.connect(t, "b:9092")
		got, err := io.ReadAll(conn)
		if string(got) != "said\n" || err == nil || !strings.Contains(err.Error(), "why") {
			t.Errorf("%s: got %q, %v", end, got, err)
		}
	}
}

// A process that a successful command leaves behind may carry the connection.
func TestExecEndsWellAndLeavesSomething(t *testing.T) {
	d := viatest.Dialer(t, via.Config{URL: execURL(t, "hand-over")})
	c := rig{Dialer: d}.connect(t, "b:9092")
	_ = readNumber(t, c)
	viatest.Exchange(t, c, "x")
}

// The end of a command's output is an orderly end if it still accepts input.
func TestExecHalfClosed(t *testing.T) {
	conn := rig{Dialer: viatest.Dialer(t, via.Config{URL: execURL(t, "half-close")})}.connect(t, "b:9092")
	if got, err := io.ReadAll(conn); string(got) != "hello\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := io.WriteString(conn, "still taken"); err != nil {
		t.Error(err)
	}
}
