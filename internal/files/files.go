// Package files reads files that the configuration names: secrets, users,
// certificates, keys, state. Such a file may turn out to be a named pipe that
// nothing writes to, a device without an end, or to lie on a network file system
// that hangs. A plain [os.ReadFile] then blocks its caller, and a thread for each
// caller, for ever.
//
// So a read here accepts regular files only, has a limit, and returns when its context ends.
// A file that a person names on the command line may be a pipe: it is read once, and a
// person waits. A file that hangs costs one thread, however many callers want it. The linter
// keeps other packages from opening files themselves.
package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

// Patience is the time limit of a call if its context has no deadline. A local file takes
// microseconds, a healthy network file system some milliseconds.
const Patience = 10 * time.Second

// ErrEmpty reports that a file with a secret is empty.
var ErrEmpty = errors.New("the file is empty")

// Read returns the content of a regular file, or an error if it has more than most
// bytes. It follows symbolic links.
func Read(ctx context.Context, name string, most int64) ([]byte, error) {
	return Do(ctx, name, func() ([]byte, error) { return read(name, most, false) })
}

// ArgumentPatience is how long ReadArgument waits if its context has no deadline: the
// program that writes to a pipe may ask a person for input first.
const ArgumentPatience = time.Minute

// ReadArgument is Read for a file that a person names on the command line, which may
// be a pipe: that of a shell's <(command), or a named one.
func ReadArgument(ctx context.Context, name string, most int64) ([]byte, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, ArgumentPatience)
		defer cancel()
	}
	content, err := Do(ctx, name, func() ([]byte, error) { return read(name, most, true) })
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return nil, fmt.Errorf("%s: the file system, or the program that should write to the pipe, does not respond: %w", name, ctx.Err())
	}
	return content, err
}

// IsPipe reports whether name stands for a pipe, whose content is gone when it has
// been read.
func IsPipe(ctx context.Context, name string) bool {
	yes, err := Do(ctx, name, func() (bool, error) {
		info, err := os.Stat(name)
		return err == nil && isPipe(info), nil
	})
	return err == nil && yes
}

func isPipe(info fs.FileInfo) bool { return info.Mode()&fs.ModeNamedPipe != 0 }

// ReadSecret returns the content of a file that holds one secret, without the byte
// order mark that some editors write in front of it and the line end behind it.
func ReadSecret(ctx context.Context, name string, most int64) (string, error) {
	content, err := Read(ctx, name, most)
	if err != nil {
		return "", err
	}
	return secretOf(name, content)
}

// ReadSecretArgument is ReadSecret for a file that a person names on the command
// line; see ReadArgument.
func ReadSecretArgument(ctx context.Context, name string, most int64) (string, error) {
	content, err := ReadArgument(ctx, name, most)
	if err != nil {
		return "", err
	}
	return secretOf(name, content)
}

func secretOf(name string, content []byte) (string, error) {
	text := strings.TrimSuffix(strings.TrimSuffix(string(WithoutBOM(content)), "\n"), "\r")
	if text == "" {
		return "", fmt.Errorf("%s: %w", name, ErrEmpty)
	}
	return text, nil
}

// WithoutBOM returns content without a leading byte order mark.
func WithoutBOM(content []byte) []byte { return bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")) }

// Look returns the identity of the present version of a file.
func Look(ctx context.Context, name string) (State, error) {
	return Do(ctx, name, func() (State, error) {
		now, err := stampOf(name)
		return State{stamp: now, at: time.Now()}, err
	})
}

// State is the result of one Look at a file.
type State struct {
	stamp stamp
	at    time.Time
}

// settleTime is longer than the resolution of file systems' times. A file that is written
// twice within one step may look unchanged.
const settleTime = 2 * time.Second

// Same reports whether the file certainly has the content that it had at the look before.
// If it was written shortly before a look, or the system has no time for it, Same reports
// false, and the content has to be compared.
func (s State) Same(before State) bool {
	return s.stamp == before.stamp && s.settled() && before.settled()
}

func (s State) settled() bool {
	changed, ok := s.stamp.changed()
	return ok && s.at.Sub(changed) > settleTime
}

// Regular returns an error if name exists and is not a regular file. It may block, like
// every call to a file system: call it within Do.
func Regular(name string) error {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return regular(name, info)
}

// read returns the content of a regular file, or of a pipe where that is allowed.
func read(name string, most int64, pipe bool) ([]byte, error) {
	// Opening a device can have effects. So the kind is checked before, and again after
	// opening, because the file may have been replaced.
	info, err := os.Stat(name)
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, &fs.PathError{Op: "open", Path: failed.Path, Err: failed.Err} // in the form of os.Open's error
	}
	if err == nil {
		err = admit(name, info, pipe)
	}
	if err != nil {
		return nil, err
	}
	flag := os.O_RDONLY | NonBlock
	if pipe && isPipe(info) && !isGiven(name) {
		flag = os.O_RDONLY // a named pipe without a writer looks empty
	}
	f, err := os.OpenFile(name, flag, 0) //nolint:gosec // the configuration names it
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err == nil {
		err = admit(name, info, pipe)
	}
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return content, nil
}

// admit returns an error unless the file is regular, or a pipe where that is allowed.
func admit(name string, info fs.FileInfo, pipe bool) error {
	if pipe && isPipe(info) {
		return nil
	}
	return regular(name, info)
}

func regular(name string, info fs.FileInfo) error {
	mode := info.Mode()
	if mode.IsRegular() || isGiven(name) && !mode.IsDir() {
		return nil
	}
	what := "a device"
	switch {
	case mode.IsDir():
		what = "a directory"
	case mode&fs.ModeNamedPipe != 0:
		what = "a named pipe"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	}
	return fmt.Errorf("%s is %s, not a regular file", name, what)
}

// isGiven reports whether name stands for an inherited open file, as a shell's <(command)
// does. That may be a pipe.
func isGiven(name string) bool {
	return name == "/dev/stdin" || strings.HasPrefix(name, "/dev/fd/") || strings.HasPrefix(name, "/proc/self/fd/")
}

// Do calls f, which uses the file of that name and may block, and returns its result. It
// returns early, with an error, when ctx ends. Then f goes on in its own goroutine, and
// further calls for the same name wait for it.
func Do[T any](ctx context.Context, name string, f func() (T, error)) (result T, err error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, Patience)
		defer cancel()
	}
	if ctx.Err() != nil {
		return result, late(ctx, name)
	}
	g := enter(name)
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		g.leave(name)
		return result, late(ctx, name)
	}
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		defer g.leave(name)
		value, err := f()
		<-g.turn
		done <- outcome{value, err}
	}()
	select {
	case got := <-done:
		return got.value, got.err
	case <-ctx.Done():
		return result, late(ctx, name)
	}
}

func late(ctx context.Context, name string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", name, ctx.Err())
	}
	return fmt.Errorf("%s: the file system does not respond: %w", name, ctx.Err())
}

// gate allows one call at a time for a file.
type gate struct {
	turn  chan struct{} // holds an element while a call goes on
	users int           // calls that go on or wait; guarded by gates
}

// gates are those in use, by the file's name.
var gates = struct {
	sync.Mutex

	all map[string]*gate
}{all: map[string]*gate{}}

func enter(name string) *gate {
	gates.Lock()
	defer gates.Unlock()
	g := gates.all[name]
	if g == nil {
		g = &gate{turn: make(chan struct{}, 1)}
		gates.all[name] = g
	}
	g.users++
	return g
}

func (g *gate) leave(name string) {
	gates.Lock()
	defer gates.Unlock()
	if g.users--; g.users == 0 {
		delete(gates.all, name)
	}
}
