//go:build linux

package lab

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// handOverFile is a file that a kproxy with hand-over has.
const handOverFile = "cmd/kproxy/upgrade.go"

// OldRef returns a commit or tag whose kproxy can take over and hand over: ref; or, if that is "last",
// the last tag, or the first commit with hand-over if the last tag has none or there is no tag.
func OldRef(ctx context.Context, ref string) (string, error) {
	if ref != "last" {
		return ref, nil
	}
	if tag, err := git(ctx, "describe", "--tags", "--abbrev=0"); err == nil {
		if _, err := git(ctx, "cat-file", "-e", tag+":"+handOverFile); err == nil {
			return tag, nil
		}
	}
	added, err := git(ctx, "log", "--diff-filter=A", "--format=%H", "--", ":/"+handOverFile)
	if err != nil {
		return "", err
	}
	all := strings.Fields(added)
	if len(all) == 0 {
		return "", fmt.Errorf("no tag, and no commit that adds %s; is the clone shallow? name a commit", handOverFile)
	}
	return all[len(all)-1], nil
}

// BuildKproxyOf builds the usual binary of a commit or tag in a new directory in dir. The version is the
// commit's name.
func BuildKproxyOf(ctx context.Context, dir, ref string) (string, error) {
	commit, err := git(ctx, "rev-parse", "--short=12", "--verify", ref+"^{commit}")
	if err != nil {
		return "", err
	}
	top, err := git(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		return "", err
	}
	source, err := filepath.Abs(filepath.Join(dir, "kproxy-"+commit))
	if err != nil {
		return "", err
	}
	archive := source + ".tar"
	if _, err := git(ctx, "-C", top, "archive", "--format=tar", "--output="+archive, commit); err != nil { // -C: the whole tree
		return "", err
	}
	defer os.Remove(archive)
	if err := os.MkdirAll(source, 0o755); err != nil {
		return "", err
	}
	if err := unpack(archive, source); err != nil {
		return "", fmt.Errorf("the sources of %s: %w", ref, err)
	}
	goTool, err := Tool("go", "the Go toolchain, to build kproxy")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(source, "kproxy.bin")
	build := Command(ctx, goTool, "build", "-C", source, "-trimpath", "-buildvcs=false", "-ldflags", "-X main.version="+commit, "-o", binary, "./cmd/kproxy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build
	out, err := Output(build)
	if err != nil {
		return "", fmt.Errorf("go build of %s: %w\n%s", ref, err, out)
	}
	return binary, nil
}

// git returns the output of a git command, without the spaces around it.
func git(ctx context.Context, args ...string) (string, error) {
	tool, err := Tool("git", "git, for the sources of an older kproxy (Debian: apt-get install git)")
	if err != nil {
		return "", err
	}
	out, err := Output(Command(ctx, tool, args...))
	if err != nil {
		return "", fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out), nil
}

// unpack writes the files of a tar archive to a directory.
func unpack(archive, dir string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for reader := tar.NewReader(file); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return err
		}
		if err := errors.Join(root.MkdirAll(filepath.Dir(header.Name), 0o755), root.WriteFile(header.Name, content, 0o600)); err != nil {
			return err
		}
	}
}
