package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"kproxy/internal/files"
	"kproxy/internal/logkey"
	"kproxy/proxy/config"
)

const (
	stateRetry = 30 * time.Second // after a failed write, for example to a full disk
	stateKeep  = time.Hour        // between writes while only the times at which nodes were seen change
)

// stateFile keeps a cluster's map across restarts: the brokers, and the slots of those
// outside the range. While it is open, no other process can open it.
type stateFile struct {
	path string
	lock *flock.Flock

	mu       sync.Mutex // guards the following; held during a write
	released bool       // another process has the file: nothing is written
}

// openState locks the state file of a cluster. It creates the directory if that is missing.
// The file need not exist.
func openState(ctx context.Context, dir, cluster string) (*stateFile, error) {
	path := config.StatePath(dir, cluster)
	return files.Do(ctx, path, func() (*stateFile, error) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		if err := files.Regular(path + ".lock"); err != nil {
			return nil, err
		}
		lock := flock.New(path+".lock", flock.SetFlag(os.O_CREATE|os.O_RDONLY|files.NonBlock))
		locked, err := lock.TryLock()
		if err != nil {
			return nil, err
		}
		if !locked {
			return nil, fmt.Errorf("%s is in use by another kproxy; give each one a state_dir of its own", path)
		}
		return &stateFile{path: path, lock: lock}, nil
	})
}

// read returns the content of the file; nil if there is no file.
func (f *stateFile) read(ctx context.Context) ([]byte, error) {
	b, err := files.Read(ctx, f.path, config.MaxState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// write replaces the file in one step: after a crash it is the old one or the new one. It
// gives up when the file system does not respond. After release it does nothing.
func (f *stateFile) write(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.released {
		return nil
	}
	return f.writeNow(b)
}

func (f *stateFile) writeNow(b []byte) error {
	_, err := files.Do(context.Background(), f.path, func() (struct{}, error) { return struct{}{}, f.replace(b) })
	return err
}

func (f *stateFile) replace(b []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+".*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name()) // the first error is the one to return
		}
	}()
	if _, err = tmp.Write(b); err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), f.path)
	}
	return err
}

// setAside renames a file that cannot be read, so that it can be examined.
func (f *stateFile) setAside() (string, error) {
	aside := f.path + ".broken"
	return aside, os.Rename(f.path, aside)
}

// release writes the file a last time, and unlocks it for another process. An error changes nothing.
func (f *stateFile) release(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.released {
		return nil
	}
	if err := f.writeNow(b); err != nil {
		return err
	}
	f.released = true
	return f.lock.Unlock()
}

// retake locks the file again, after release.
func (f *stateFile) retake() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.released {
		return nil
	}
	if locked, err := f.lock.TryLock(); err != nil || !locked {
		return errors.Join(fmt.Errorf("%s is in use by another kproxy", f.path), err)
	}
	f.released = false
	return nil
}

func (f *stateFile) Close() { _ = f.lock.Unlock() } // the end of the process does the same

// Restore opens the cluster's state file and reads it into the map.
func (c *Cluster) Restore(ctx context.Context, dir string) error {
	file, err := openState(ctx, dir, c.name)
	if err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	c.state = file
	b, err := file.read(ctx)
	if err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	if b == nil {
		return nil
	}
	c.mu.Lock()
	err = c.brokers.Restore(b)
	n := c.brokers.Len()
	c.mu.Unlock()
	if err != nil {
		aside, asideErr := file.setAside()
		c.log.Warn("the state file cannot be used and is set aside; brokers are learned anew",
			slog.Any(logkey.Error, errors.Join(err, asideErr)), slog.String(logkey.File, aside))
		return nil
	}
	c.show()
	c.log.Info("brokers remembered", slog.Int(logkey.Nodes, n), slog.String(logkey.File, file.path))
	return nil
}

// KeepState writes the state after every change of the map until ctx ends, and then once
// more. Without a state file it does nothing. After a failed write it tries again; until
// then a restart would lose the last changes, and nothing else is affected.
func (c *Cluster) KeepState(ctx context.Context) {
	if c.state == nil {
		return
	}
	defer c.state.Close()
	failed := false
	wait := stateKeep
	for last := false; !last; {
		timer := time.NewTimer(wait)
		select {
		case <-c.changed:
		case <-timer.C:
		case <-ctx.Done():
			last = true
		}
		timer.Stop()
		c.mu.Lock()
		b := c.brokers.Encode()
		c.mu.Unlock()
		err := c.state.write(b)
		switch {
		case err != nil && !failed:
			c.log.Error("the state file cannot be written; trying on",
				slog.Any(logkey.Error, err), slog.String(logkey.File, c.state.path),
				slog.String(logkey.Fix, "free space there, or correct its rights; until then a restart forgets the latest changes"))
		case err == nil && failed:
			c.log.Info("the state file is written again", slog.String(logkey.File, c.state.path))
		}
		failed = err != nil
		wait = stateKeep
		if failed {
			wait = stateRetry
		}
	}
}

// ReleaseState writes the state file a last time and unlocks it, for the process that takes over.
// From then on nothing is written, until RetakeState. On an error the file stays this Cluster's.
func (c *Cluster) ReleaseState() error {
	if c.state == nil {
		return nil
	}
	c.mu.Lock()
	b := c.brokers.Encode()
	c.mu.Unlock()
	if err := c.state.release(b); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	return nil
}

// RetakeState undoes ReleaseState. The map is written again.
func (c *Cluster) RetakeState() error {
	if c.state == nil {
		return nil
	}
	if err := c.state.retake(); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	select {
	case c.changed <- struct{}{}:
	default: // it is to be written already
	}
	return nil
}

// CloseState closes the state file, if there is one. It is for a Cluster whose KeepState has
// not been called.
func (c *Cluster) CloseState() {
	if c.state != nil {
		c.state.Close()
	}
}
