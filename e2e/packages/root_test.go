//go:build e2e && linux

package packages

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// root is a file system over another one.
type root struct {
	lower, upper, dir string
}

// overEach runs a test in a root over this machine's, and in one over E2E_ROOT if that is set.
func overEach(t *testing.T, test func(t *testing.T, r *root)) {
	t.Helper()
	t.Run("machine", func(t *testing.T) { test(t, newRoot(t, "/")) })
	if lower := os.Getenv("E2E_ROOT"); lower != "" {
		t.Run("other", func(t *testing.T) { test(t, newRoot(t, lower)) })
	}
}

// newRoot makes a root over another one, with /dev and /proc.
func newRoot(t *testing.T, lower string) *root {
	t.Helper()
	top := t.TempDir()
	mount := func(source, target, kind string, flags uintptr, data string) {
		t.Helper()
		if err := syscall.Mount(source, target, kind, flags, data); err != nil {
			t.Fatalf("mount %s at %s: %v", kind, target, err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(target, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	mount("tmpfs", top, "tmpfs", 0, "")
	r := &root{lower: lower, upper: filepath.Join(top, "upper"), dir: filepath.Join(top, "root")}
	work := filepath.Join(top, "work")
	for _, dir := range []string{r.upper, work, r.dir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount("overlay", r.dir, "overlay", 0, "lowerdir="+r.lower+",upperdir="+r.upper+",workdir="+work)
	mount("/dev", filepath.Join(r.dir, "dev"), "", syscall.MS_BIND, "")
	mount("proc", filepath.Join(r.dir, "proc"), "proc", 0, "")
	return r
}

// path is the path of a file of the root, from outside.
func (r *root) path(name string) string { return filepath.Join(r.dir, name) }

// put copies a file into the root, and returns its name there.
func (r *root) put(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return r.write(t, "/tmp/"+filepath.Base(filepath.Dir(file))+"-"+filepath.Base(file), content, 0o644)
}

func (r *root) write(t *testing.T, name string, content []byte, mode os.FileMode) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(r.path(name)), 0o755), os.WriteFile(r.path(name), content, mode), os.Chmod(r.path(name), mode)); err != nil {
		t.Fatal(err)
	}
	return name
}

// command is a command in the root.
func (r *root) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/usr/bin/env", append([]string{"-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: r.dir, Pdeathsig: syscall.SIGKILL}
	cmd.Dir = "/"
	return cmd
}

// run runs a command in the root, which must succeed, and returns its output.
func (r *root) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := r.command(t, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// left returns the files that the root has above the one below, and that are kproxy's by their name.
func (r *root) left(t *testing.T) (all []string) {
	t.Helper()
	err := filepath.WalkDir(r.upper, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, r.upper)
		removed := d.Type()&fs.ModeCharDevice != 0 // as overlay marks it
		if strings.Contains(filepath.Base(name), "kproxy") && !removed && !strings.HasPrefix(name, "/tmp/") {
			all = append(all, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// unchanged reports the files of users and groups that differ from those below.
func (r *root) unchanged(t *testing.T) {
	t.Helper()
	for _, name := range []string{"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"} {
		before, err := os.ReadFile(filepath.Join(r.lower, name))
		after, err2 := os.ReadFile(r.path(name))
		if err != nil || err2 != nil || !bytes.Equal(before, after) {
			t.Errorf("%s is not as before: %v, %v\n%s", name, err, err2, after)
		}
	}
}
