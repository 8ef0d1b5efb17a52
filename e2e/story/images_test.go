//go:build e2e

package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"kproxy/e2e/image"
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
	kafka, err := image.NewKafka(ctx, s.dir)
	if err != nil {
		return err
	}
	for _, r := range releases {
		release, err := lab.NewRelease(ctx, r.version)
		if err != nil {
			return err
		}
		if err := s.importImage(ctx, []string{image.Entrypoint}, r.images, func(a *image.Archive) error { return kafka.Fill(ctx, a, release) }); err != nil {
			return err
		}
	}
	kcat, err := lab.Tool("kcat", "kcat (Debian: apt-get install kcat)")
	if err != nil {
		return err
	}
	return errors.Join(
		s.importImage(ctx, []string{"/usr/bin/kcat"}, []string{kcatImage}, func(a *image.Archive) error {
			return errors.Join(a.Programs(ctx, kcat), a.File(kcat, "usr/bin/kcat"))
		}),
		s.kproxyImage(ctx),
	)
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
func (s *site) importImage(ctx context.Context, entrypoint, names []string, fill func(*image.Archive) error) error {
	command, err := json.Marshal(entrypoint)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(image.Layer(w, fill)) }() // ends when podman has read the archive, or has ended
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
