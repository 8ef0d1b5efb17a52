//go:build e2e

package story

import (
	"archive/tar"
	"context"
	"encoding/json"
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

// release is a Kafka, with the images that stand in for those of its compose file.
type release struct {
	version string
	compose string // its compose file
	images  []string
}

var releases = []release{
	{"2.2.1", "story-2.2.yaml", []string{"docker.io/confluentinc/cp-kafka:5.2.1", "docker.io/confluentinc/cp-zookeeper:5.2.1"}},
	{lab.Newest, "story.yaml", []string{"docker.io/apache/kafka:" + lab.Newest}},
}

const kcatImage = "docker.io/edenhill/kcat:1.7.1"

// makeImages makes every image of the compose files.
func (s *site) makeImages(ctx context.Context) error {
	jre, err := s.jre(ctx)
	if err != nil {
		return err
	}
	start := filepath.Join(s.dir, "entrypoint")
	if err := s.goBuild(ctx, start, "kproxy/e2e/story/entrypoint"); err != nil {
		return err
	}
	for _, r := range releases {
		kafka, err := lab.NewRelease(ctx, r.version)
		if err != nil {
			return err
		}
		err = s.importImage(ctx, []string{"/entrypoint"}, r.images, func(a *archive) error {
			logging := filepath.Join(s.root, "e2e/lab/kafka")
			return errors.Join(
				a.programs(ctx, filepath.Join(jre, "bin/java"), filepath.Join(jre, "lib/server/libjvm.so"), filepath.Join(jre, "lib/libzip.so")),
				a.tree(jre, "opt/java"),
				a.tree(filepath.Dir(kafka.Classpath), "opt/kafka/libs"),
				a.file(filepath.Join(logging, "log4j-broker.properties"), "opt/kafka/log4j-broker.properties"),
				a.file(filepath.Join(logging, "log4j2-broker.properties"), "opt/kafka/log4j2-broker.properties"),
				a.file(start, "entrypoint"),
			)
		})
		if err != nil {
			return err
		}
	}
	kcat, err := lab.Tool("kcat", "kcat (Debian: apt-get install kcat)")
	if err != nil {
		return err
	}
	return errors.Join(
		s.importImage(ctx, []string{"/usr/bin/kcat"}, []string{kcatImage}, func(a *archive) error {
			return errors.Join(a.programs(ctx, kcat), a.file(kcat, "usr/bin/kcat"))
		}),
		s.kproxyImage(ctx),
	)
}

// jre is a Java runtime with the modules that Kafka needs.
func (s *site) jre(ctx context.Context) (string, error) {
	jlink, err := lab.Tool("jlink", "a JDK (Debian: apt-get install openjdk-17-jdk-headless)")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.dir, "jre")
	out, err := lab.Output(lab.Command(ctx, jlink, "--add-modules", "java.se,jdk.unsupported,jdk.management,jdk.crypto.ec,jdk.zipfs",
		"--strip-java-debug-attributes", "--no-header-files", "--no-man-pages", "--output", dir))
	if err != nil {
		return "", fmt.Errorf("jlink: %w: %s", err, out)
	}
	return dir, nil
}

func (s *site) goBuild(ctx context.Context, binary, pkg string) error {
	cmd := lab.Command(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // there is no libc
	if out, err := lab.Output(cmd); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, out)
	}
	return nil
}

// kproxyImage is the last stage of the Dockerfile, whose first one, the build, was done on this machine.
func (s *site) kproxyImage(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(s.root, "Dockerfile"))
	if err != nil {
		return err
	}
	_, last, ok := strings.Cut(string(text), "\nFROM scratch\n")
	if !ok {
		return errors.New("the Dockerfile has no stage FROM scratch")
	}
	dir := filepath.Join(s.dir, "image")
	certs := filepath.Join(dir, "etc/ssl/certs")
	if err := os.MkdirAll(certs, 0o755); err != nil {
		return err
	}
	program, err := os.ReadFile(s.kproxy)
	if err != nil {
		return err
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "kproxy"), program, 0o755),
		os.WriteFile(filepath.Join(certs, "ca-certificates.crt"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\n"+strings.ReplaceAll(last, "--from=build ", "")), 0o644),
	); err != nil {
		return err
	}
	// The docker client's own name of an image without a registry is the second one.
	out, err := s.podman.Try(ctx, nil, "build", "--format", "docker", "--network", "none", "--tag", "localhost/kproxy:latest", "--tag", "docker.io/library/kproxy:latest", dir)
	if err != nil {
		return fmt.Errorf("podman build: %w: %s", err, out)
	}
	return nil
}

// importImage makes an image of one layer.
func (s *site) importImage(ctx context.Context, entrypoint, names []string, fill func(*archive) error) error {
	command, err := json.Marshal(entrypoint)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { // ends when podman has read the archive, or has ended
		a := &archive{Writer: tar.NewWriter(w), seen: make(map[string]bool)}
		err := errors.Join(
			a.text("etc/nsswitch.conf", "hosts: files dns\n"),
			a.WriteHeader(&tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}),
			fill(a),
		)
		_ = w.CloseWithError(errors.Join(err, a.Close()))
	}()
	out, err := s.podman.Try(ctx, r, "import", "--change", fmt.Sprintf("ENTRYPOINT %s", command), "-", names[0])
	_ = r.CloseWithError(err)
	if err != nil {
		return fmt.Errorf("podman import %s: %w: %s", names[0], err, out)
	}
	for _, name := range names[1:] {
		if out, err := s.podman.Try(ctx, nil, "tag", names[0], name); err != nil {
			return fmt.Errorf("podman tag %s: %w: %s", name, err, out)
		}
	}
	return nil
}

// archive has the files of an image.
type archive struct {
	*tar.Writer
	seen map[string]bool
}

func (a *archive) text(name, content string) error {
	err := a.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
	if err == nil {
		_, err = io.WriteString(a, content)
	}
	return err
}

// file adds a file, once. Links are followed.
func (a *archive) file(from, name string) error {
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

func (a *archive) tree(dir, name string) error {
	return filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		return a.file(file, path.Join(name, filepath.ToSlash(rel)))
	})
}

var shared = regexp.MustCompile(`(?m)(?:=> |^\s)(/(?:usr/)?lib[^ \n]*) \(0x`)

// programs adds the shared libraries of programs and libraries, at their places.
func (a *archive) programs(ctx context.Context, files ...string) error {
	out, err := lab.Output(lab.Command(ctx, "ldd", files...))
	if err != nil {
		return fmt.Errorf("ldd: %w: %s", err, out)
	}
	for _, library := range shared.FindAllStringSubmatch(out, -1) {
		if err := a.file(library[1], strings.TrimPrefix(library[1], "/")); err != nil {
			return err
		}
	}
	return nil
}
