package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"kproxy/internal/files"
)

// MaxState bounds a state file: 10,000 nodes, each with a name of 255 bytes, take
// some 4 MB.
const MaxState = 64 << 20

// StatePath returns the path of a cluster's state file. Its lock file has .lock behind that.
func StatePath(dir, cluster string) string { return filepath.Join(dir, cluster+".json") }

// CheckState finds what keeps state files from being used, and changes nothing: it
// makes no directory and takes no lock. A state file that another kproxy has locked is
// no mistake, because that one may be about to end.
func (c *Config) CheckState() error {
	if c.StateDir == "" {
		return nil
	}
	bad := func(err error) error {
		return &Error{Key: "state_dir", Problem: err.Error(), Fix: "name a directory in which kproxy may write, or leave the key out"}
	}
	if _, err := files.Do(context.Background(), c.StateDir, func() (struct{}, error) { return struct{}{}, usable(c.StateDir) }); err != nil {
		return bad(err)
	}
	var errs []error
	for i := range c.Clusters {
		path := StatePath(c.StateDir, c.Clusters[i].Name)
		lock := path + ".lock"
		if _, err := files.Do(context.Background(), lock, func() (struct{}, error) { return struct{}{}, files.Regular(lock) }); err != nil {
			errs = append(errs, bad(err))
		} else if _, err := files.Read(context.Background(), path, MaxState); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, bad(err))
		}
	}
	return errors.Join(errs...)
}

// usable returns an error if dir cannot be written to, or made.
func usable(dir string) error {
	info, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	default:
		return mayWrite(dir)
	}
}
