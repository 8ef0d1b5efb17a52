//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"kproxy/e2e/lab"
)

// workshop starts processes: it has a directory, a copy of our own binary that any user
// may run, and the user that they run as.
type workshop struct {
	dir      string
	self     string
	nobody   *syscall.Credential // nil: we are unprivileged ourselves
	registry *janitor
}

// stopTimeout is how long a target has to end, before it is killed.
const stopTimeout = 3 * time.Second

// newWorkshop copies our own binary, which `go run` has put where only we may
// read.
func newWorkshop(dir string) (*workshop, error) {
	w := &workshop{dir: dir, self: filepath.Join(dir, "bench")}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := copyFile(w.self, self, 0o755); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		if w.nobody, err = lookUpNobody(); err != nil {
			return nil, err
		}
	}
	// A janitor without input does nothing.
	if err := lab.Run(w.command(context.Background(), nil, w.self, "janitor")); err != nil {
		return nil, fmt.Errorf("an unprivileged process cannot run programs in %s, choose another --dir or TMPDIR: %w", dir, err)
	}
	w.registry, err = startJanitor(w.self)
	return w, err
}

func copyFile(to, from string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

// lookUpNobody returns the user that processes run as where we are root. A proxy in
// production does not have the kernel's privileges of root, such as pipes without limit.
func lookUpNobody() (*syscall.Credential, error) {
	u, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// private makes a directory that the processes may write to.
func (w *workshop) private(name string) (string, error) {
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if w.nobody == nil {
		return dir, nil
	}
	return dir, os.Chown(dir, int(w.nobody.Uid), int(w.nobody.Gid))
}

// command is a process in a network, unprivileged, which cannot outlive us.
func (w *workshop) command(ctx context.Context, where *lab.Namespace, args ...string) *exec.Cmd {
	if where == nil {
		cmd := lab.Command(ctx, args[0], args[1:]...)
		cmd.SysProcAttr.Credential = w.nobody
		return cmd
	}
	// ip needs root; it becomes setpriv, which becomes the process.
	args = append([]string{
		"setpriv", "--reuid=" + strconv.Itoa(int(w.nobody.Uid)), "--regid=" + strconv.Itoa(int(w.nobody.Gid)),
		"--clear-groups", "--pdeathsig=KILL", "--",
	}, args...)
	return where.Command(lab.Command(ctx, args[0], args[1:]...))
}

// serve starts a server whose output goes to a log. Its owner must stop it.
func (w *workshop) serve(name string, cmd *exec.Cmd) (*server, error) {
	p, err := lab.StartProcess(name, filepath.Join(w.dir, name+".log"), cmd)
	if err != nil {
		return nil, err
	}
	return &server{Process: p, pid: cmd.Process.Pid}, nil
}

// role starts one of our own servers with its job.
func (w *workshop) role(ctx context.Context, where *lab.Namespace, role, name string, job any, env ...string) (*server, error) {
	input, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	cmd := w.command(ctx, where, w.self, role)
	cmd.Stdin = bytes.NewReader(input)
	cmd.Env = append(os.Environ(), env...)
	return w.serve(name, cmd)
}

// server is a process that is asked to end, and then killed.
type server struct {
	*lab.Process
	pid int
}

func (s *server) stop() {
	if s == nil || s.Alive() != nil {
		return
	}
	_ = s.Stop(stopTimeout, -1, 143) // however it ends: it has been measured
}

// loader is a run of the load generator.
type loader struct {
	cmd    *exec.Cmd
	marks  *json.Decoder
	input  io.WriteCloser
	stderr bytes.Buffer
	expire *time.Timer
	ended  func() error // waits for it, once
}

// startLoad starts the load generator; its marks are read by next. The owner must
// close it.
func (w *workshop) startLoad(ctx context.Context, where *lab.Namespace, job loadJob) (*loader, error) {
	l := &loader{cmd: w.command(ctx, where, w.self, "load")}
	var err error
	if l.input, err = l.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.cmd.Stderr = &l.stderr
	l.ended = sync.OnceValue(l.cmd.Wait)
	l.marks = json.NewDecoder(out)
	if err := lab.Start(l.cmd); err != nil {
		return nil, fmt.Errorf("start the load: %w", err)
	}
	// It has its own limit; this one is a safeguard.
	l.expire = time.AfterFunc(job.Work.warmup(job.Warmup)+job.Duration+2*grace, func() { _ = l.cmd.Cancel() })
	return l, json.NewEncoder(l.input).Encode(job)
}

// next reads the next mark, which is to be of this event.
func (l *loader) next(event string) (mark, error) {
	var m mark
	if err := l.marks.Decode(&m); err != nil {
		_ = l.close() // then its standard error is whole
		return m, fmt.Errorf("the load ended before its %s: %w: %s", event, err, bytes.TrimSpace(l.stderr.Bytes()))
	}
	if m.Error != "" {
		return m, fmt.Errorf("load: %s", m.Error)
	}
	if m.Event != event {
		return m, fmt.Errorf("load: %s, want %s", m.Event, event)
	}
	return m, nil
}

// follow reads the marks in their order. After the first one it calls seen, and then lets
// the load go on.
func (l *loader) follow(seen func(i int, m mark) error) error {
	for i, event := range []string{marked, begin, end} {
		m, err := l.next(event)
		if err == nil {
			err = seen(i, m)
		}
		if err == nil && event == marked {
			err = json.NewEncoder(l.input).Encode(released)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// close ends the load's input, and waits for its end.
func (l *loader) close() error {
	_ = l.input.Close()
	defer l.expire.Stop()
	return l.ended()
}
