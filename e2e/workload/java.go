//go:build linux

package workload

import (
	"bufio"
	"context"
	_ "embed" // History.java
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kproxy/e2e/history"
	"kproxy/e2e/lab"
)

//go:embed java/History.java
var javaSource []byte

// maxLine bounds a line that the Java program prints: a poll of 500 records.
const maxLine = 1 << 20

// JavaConfig says how the Java program runs.
type JavaConfig struct {
	Java      lab.Java
	Release   lab.Release // whose client it is
	Classes   string      // the directory that CompileJava has filled
	Log       string      // the file for its log
	Bootstrap string
	Place     *lab.Namespace // nil: the network of the caller
	// Properties of all clients, such as those of TLS.
	Properties map[string]string
}

// Java is the Java program: an idempotent and a transactional producer, and a member of a
// group of its own, in the consumer protocol. Its events are part of the load's history.
type Java struct {
	load  *Load
	cmd   *exec.Cmd
	stdin io.Closer
	log   string
	done  chan struct{} // closed when it has ended
	err   error         // why; read it after done

	mu   sync.Mutex // guards the following
	read int        // records
}

// CompileJava compiles the program into a directory.
func CompileJava(ctx context.Context, release lab.Release, dir string) error {
	javac, err := lab.Tool("javac", "the Java compiler, 17 or newer (Debian: apt-get install openjdk-17-jdk-headless)")
	if err != nil {
		return err
	}
	source := filepath.Join(dir, "History.java")
	if err := os.WriteFile(source, javaSource, 0o600); err != nil {
		return err
	}
	out, err := lab.Output(lab.Command(ctx, javac, "-nowarn", "-Xlint:none", "-cp", release.Classpath, "-d", dir, source))
	if err != nil {
		return fmt.Errorf("javac: %w\n%s", err, out)
	}
	return nil
}

// StartJava starts the program. Stop must be called, before the load's.
func (l *Load) StartJava(ctx context.Context, config JavaConfig) (*Java, error) {
	origin, err := originOf(l.Recorder.Now, monotonic)
	if err != nil {
		return nil, err
	}
	args := []string{config.Bootstrap, l.Topic, strconv.Itoa(int(l.Partitions)), strconv.Itoa(l.Rate), strconv.FormatInt(int64(origin), 10)}
	for _, key := range slices.Sorted(maps.Keys(config.Properties)) {
		args = append(args, key+"="+config.Properties[key])
	}
	j := &Java{load: l, log: config.Log, done: make(chan struct{})}
	j.cmd = config.Place.Command(config.Java.Tool(ctx, config.Classes+":"+config.Release.Classpath, "History", args...))
	if err := j.start(); err != nil {
		return nil, err
	}
	return j, l.startWatch(l.Topic+"-java", "watch-java")
}

func (j *Java) start() error {
	log, err := os.Create(j.log)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own copy
	j.cmd.Stderr = log
	if j.stdin, err = j.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := lab.Start(j.cmd); err != nil {
		return err
	}
	go func() { // ends with the program
		defer close(j.done)
		err := j.listen(out)
		_, _ = io.Copy(io.Discard, out)
		j.err = errors.Join(err, j.cmd.Wait())
	}()
	return nil
}

// listen takes in the program's events.
func (j *Java) listen(out io.Reader) error {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		e, err := history.ParseEvent(lines.Bytes())
		if err != nil {
			return fmt.Errorf("the program printed %.80q: %w", lines.Bytes(), err)
		}
		j.load.Recorder.AddAt(e)
		if e.Type == history.Poll {
			j.mu.Lock()
			j.read += len(e.Offsets)
			j.mu.Unlock()
		}
	}
	return lines.Err()
}

// Flows waits until the program's member has read n more records.
func (j *Java) Flows(ctx context.Context, n int) error {
	read := func() int {
		j.mu.Lock()
		defer j.mu.Unlock()
		return j.read
	}
	before := read()
	return lab.Poll(ctx, time.Minute, func() error {
		if got := read() - before; got < n {
			return fmt.Errorf("java-member: got %d more records, want %d", got, n)
		}
		return nil
	})
}

// Stop ends the producers, and then waits until the member has read all records.
func (j *Java) Stop(ctx context.Context) error {
	_ = j.stdin.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	select {
	case <-j.done:
	case <-ctx.Done():
		_ = j.cmd.Process.Kill()
		<-j.done
		return fmt.Errorf("the Java program did not end: %w", context.Cause(ctx))
	}
	if j.err != nil {
		log, _ := os.ReadFile(j.log) // it says more, if it is there
		return fmt.Errorf("the Java program: %w\n%.2000s", j.err, log)
	}
	return nil
}

// maxSkew is how far the time of the program's events may be off, and skewTries how often it is looked for.
// With 50 ms, offsets of its group seem to be read before they are committed: in a history without a
// finding, the checker then finds a stale offset in each partition.
const (
	maxSkew   = 50 * time.Microsecond
	skewTries = 1000
)

// originOf returns the beginning of a history by clock. The goroutine may be interrupted between two
// readings, so it reads the history's time on both sides, and takes the closest pair.
func originOf(now func() time.Duration, clock func() (time.Duration, error)) (origin time.Duration, err error) {
	closest := time.Duration(math.MaxInt64)
	for range skewTries {
		before := now()
		at, err := clock()
		if err != nil {
			return 0, err
		}
		if between := now() - before; between < closest {
			closest, origin = between, at-before-between/2
		}
		if closest <= maxSkew {
			break
		}
	}
	return origin, nil
}

// monotonic is the clock that System.nanoTime reads.
func monotonic() (time.Duration, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano()), err
}
