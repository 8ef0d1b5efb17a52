//go:build e2e && linux

package chart

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"kproxy/e2e/lab"
)

// versions are the Kubernetes versions that the chart supports, as far as kubernetes-validate
// has their schemas.
var versions = []string{"1.28", "1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"}

// definitions are the modules with the definitions of custom resources, and the kinds of each.
var definitions = []struct {
	module       string
	files, kinds []string
}{
	{lab.GatewayAPI, lab.GatewayFiles, []string{"Gateway", "TLSRoute"}},
	{"github.com/cert-manager/cert-manager@v1.21.2", []string{"deploy/crds/*_certificates.yaml"}, []string{"Certificate"}},
	{"github.com/prometheus-operator/prometheus-operator@v0.85.0", []string{
		"example/prometheus-operator-crd/*_podmonitors.yaml", "example/prometheus-operator-crd/*_prometheusrules.yaml", "example/prometheus-operator-crd/*_servicemonitors.yaml",
	}, []string{"PodMonitor", "PrometheusRule", "ServiceMonitor"}},
}

// Each manifest is valid for each Kubernetes, without a field that it does not know; so is an
// application with the sidecar.
func TestValid(t *testing.T) {
	t.Parallel()
	python, err := lab.Python(t.Context(), "requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	native, _ := manifests(t)
	for _, version := range versions {
		out, err := lab.Output(lab.Command(t.Context(), filepath.Join(filepath.Dir(python), "kubernetes-validate"), append([]string{"--strict", "-k", version}, native...)...))
		if err != nil {
			t.Errorf("Kubernetes %s: %v\n%s", version, err, out)
		}
		// A file that was not read is no success.
		if n := strings.Count(out, " passed for resource "); n < 60 {
			t.Errorf("Kubernetes %s: only %d objects were validated\n%s", version, n, out)
		}
	}
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: []}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := lab.Output(lab.Command(t.Context(), filepath.Join(filepath.Dir(python), "kubernetes-validate"), "--strict", "-k", versions[0], wrong)); err == nil {
		t.Errorf("a Service with prots is valid\n%s", out)
	}
}

// Each custom resource is valid by its definition, without a field that it does not know. Rules in
// CEL are not evaluated. It is not parallel: it makes the folder of Python for both tests.
func TestCustomResources(t *testing.T) {
	python, err := lab.Python(t.Context(), "requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"custom.py"}
	for _, d := range definitions {
		files, err := lab.ModuleFiles(t.Context(), d.module, d.files...)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, files...)
	}
	_, custom := manifests(t)
	out, err := lab.Output(lab.Command(t.Context(), python, append(append(args, "--"), custom...)...))
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, d := range definitions {
		for _, kind := range d.kinds {
			if !strings.Contains(out, "valid: "+kind+" ") {
				t.Errorf("no %s was validated\n%s", kind, out)
			}
		}
	}
}

// manifests writes the manifests of all values files: files of Kubernetes' own kinds, and files of
// custom resources.
func manifests(t *testing.T) (native, custom []string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names(t) {
		kinds := map[bool][]object{}
		for _, o := range objects(t, rendered(t, name)) {
			isCustom := slices.ContainsFunc([]string{"gateway.networking.k8s.io/", "cert-manager.io/", "monitoring.coreos.com/"}, func(group string) bool {
				return strings.HasPrefix(o.text("apiVersion"), group)
			})
			kinds[isCustom] = append(kinds[isCustom], o)
			if patch := o.text("data", "patch.yaml"); patch != "" {
				kinds[false] = append(kinds[false], application(t, patch))
			}
		}
		native = append(native, write(t, filepath.Join(dir, name+".yaml"), kinds[false]))
		if len(kinds[true]) > 0 {
			custom = append(custom, write(t, filepath.Join(dir, name+"-custom.yaml"), kinds[true]))
		}
	}
	return native, custom
}

// application is a Deployment with the sidecar's patch.
func application(t *testing.T, patch string) object {
	t.Helper()
	spec := section(objects(t, patch)[0].at("spec", "template", "spec"))
	spec["containers"] = []any{map[string]any{"name": "app", "image": "app"}}
	labels := map[string]any{"app": "app"}
	return object{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "app"},
		"spec": map[string]any{
			"selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any(spec)},
		},
	}
}

func write(t *testing.T, file string, all []object) string {
	t.Helper()
	var b strings.Builder
	for _, o := range all {
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n" + string(text))
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
