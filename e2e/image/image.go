//go:build linux

// Package image makes container images from the files of this machine, where no registry can be reached.
//
//	image.go    a layer: files, and the shared libraries of programs
//	kafka.go    a layer with Kafka, as a stand-in for the published images
//	entrypoint  the program that starts it
package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"kproxy/e2e/lab"
)

// Layer writes the only layer of an image, as a tar archive. It has /tmp, and finds hosts as usual.
func Layer(w io.Writer, fill func(*Archive) error) error {
	a := &Archive{Writer: tar.NewWriter(w), seen: make(map[string]bool)}
	return errors.Join(
		a.text("etc/nsswitch.conf", "hosts: files dns\n"),
		a.WriteHeader(&tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}),
		fill(a),
		a.Close(),
	)
}

// Archive has the files of a layer.
type Archive struct {
	*tar.Writer
	seen map[string]bool
}

func (a *Archive) text(name, content string) error {
	err := a.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
	if err == nil {
		_, err = io.WriteString(a, content)
	}
	return err
}

// File adds a file, once. Links are followed.
func (a *Archive) File(from, name string) error {
	if a.seen[name] {
		return nil
	}
	a.seen[name] = true
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = a.WriteHeader(&tar.Header{Name: name, Mode: int64(info.Mode().Perm()) | 0o444, Size: info.Size()})
	}
	if err == nil {
		_, err = io.Copy(a, f)
	}
	return err
}

// Tree adds the files of a directory.
func (a *Archive) Tree(dir, name string) error {
	return filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		return a.File(file, path.Join(name, filepath.ToSlash(rel)))
	})
}

var shared = regexp.MustCompile(`(?m)(?:=> |^\s)(/(?:usr/)?lib[^ \n]*) \(0x`)

// Programs adds the shared libraries of programs and libraries, at their places.
func (a *Archive) Programs(ctx context.Context, files ...string) error {
	out, err := lab.Output(lab.Command(ctx, "ldd", files...))
	if err != nil {
		return fmt.Errorf("ldd: %w: %s", err, out)
	}
	for _, library := range shared.FindAllStringSubmatch(out, -1) {
		if err := a.File(library[1], strings.TrimPrefix(library[1], "/")); err != nil {
			return err
		}
	}
	return nil
}
