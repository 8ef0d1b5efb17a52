//go:build e2e && linux

// Package chart renders configs/helm/kproxy by helm, for each of the values in
// configs/helm/testdata/values. It compares the manifests with golden ones, validates them
// for each Kubernetes that the chart supports, and has kproxy check the configurations in them.
// No cluster is involved.
package chart

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"kproxy/e2e/lab"
)

var update = flag.Bool("update", false, "write configs/helm/testdata/golden")

// The chart, and the data of its tests.
const (
	chart  = "../../configs/helm/kproxy"
	values = "../../configs/helm/testdata/values"
	golden = "../../configs/helm/testdata/golden"
)

// kproxy is the binary of this tree.
var kproxy string

func TestMain(m *testing.M) { os.Exit(run(m)) } //nolint:forbidigo // this is main

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kproxy-chart-")
	if err == nil {
		defer os.RemoveAll(dir)
		kproxy, err = lab.BuildKproxy(context.Background(), dir)
	}
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	return m.Run()
}

// names are the names of the values files, without their ending.
func names(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(values, "*.yaml"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d values files, %v", len(files), err)
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".yaml")
	}
	return files
}

// helm runs helm, and returns its output and its error, which has stderr.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	program, err := lab.Tool(cmp.Or(os.Getenv("E2E_HELM"), "helm"), "run make e2e-chart, which builds it")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	// It shall read no configuration of the user's.
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+filepath.Join(home, "none"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), errors.Join(err, errors.New(stderr.String()+stdout.String()))
	}
	return stdout.String(), nil
}

// rendered are the manifests for a values file, and for further flags of helm.
func rendered(t *testing.T, name string, flags ...string) string {
	t.Helper()
	out, err := helm(t, append([]string{"template", "edge", chart, "-n", "kafka", "-f", filepath.Join(values, name+".yaml")}, flags...)...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

// object is a manifest.
type object map[string]any

func (o object) kind() string { return o.text("kind") }

// at is the value at a path of keys; nil: there is none.
func (o object) at(path ...string) any {
	var at any = map[string]any(o)
	for _, key := range path {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[key]
	}
	return at
}

func (o object) text(path ...string) string { s, _ := o.at(path...).(string); return s }

// list is a list of sections at a path.
func (o object) list(path ...string) []object {
	items, _ := o.at(path...).([]any)
	var all []object
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

// objects are the manifests in a text, without empty ones.
func objects(t *testing.T, text string) []object {
	t.Helper()
	var all []object
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var o map[string]any
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if len(o) > 0 {
			all = append(all, o)
		}
	}
}

// configuration is the kproxy.yaml in the manifests.
func configuration(t *testing.T, all []object) string {
	t.Helper()
	for _, o := range all {
		if text := o.text("data", "kproxy.yaml"); o.kind() == "ConfigMap" && text != "" {
			return text
		}
	}
	t.Fatal("no ConfigMap has kproxy.yaml")
	return ""
}

// podSpecs are the specifications of pods in the manifests. The sidecar's is that of its patch.
func podSpecs(t *testing.T, all []object) []object {
	t.Helper()
	var specs []object
	for _, o := range all {
		switch o.kind() {
		case "Pod":
			specs = append(specs, section(o.at("spec")))
		case "Deployment":
			specs = append(specs, section(o.at("spec", "template", "spec")))
		case "ConfigMap":
			if patch := o.text("data", "patch.yaml"); patch != "" {
				specs = append(specs, section(objects(t, patch)[0].at("spec", "template", "spec")))
			}
		}
	}
	return specs
}

func section(tree any) object { m, _ := tree.(map[string]any); return m }
