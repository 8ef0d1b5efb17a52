package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/viper"

	"kproxy/internal/admin"
	"kproxy/internal/files"
	"kproxy/internal/telemetry"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// settings are the settings of a configuration file.
type settings struct {
	File   string   // its name, for errors
	source []byte   // its content
	digest [32]byte // of it (SHA-256)
	piped  bool     // it was a pipe, whose content is gone
	Proxy  proxy.Config
	Log    logKeys

	Admin      admin.Config
	AllReady   bool // every cluster must respond for kproxy to be ready
	DrainDelay time.Duration
	OTLP       telemetry.OTLP

	keys     *fileConfig
	plan     *config.Plan // of Proxy
	document *document
	values   *layers
}

// maxConfig bounds a configuration file, in bytes: 10,000 listeners have some 5 MB.
const maxConfig = 16 << 20

// loadConfig reads a configuration file and the environment variables that override it,
// and validates the result. The error is a [*usageError] with one line for each mistake,
// every one naming the file. If there is a mistake, the error also has those of the files
// that the configuration names, so that all mistakes are reported at once. Otherwise
// [prepare] finds these.
func loadConfig(file string) (*settings, error) {
	if file == "" {
		return nil, &usageError{errors.New("--config is missing; name the configuration file")}
	}
	data, err := files.ReadArgument(context.Background(), file, maxConfig)
	if err != nil {
		return nil, &usageError{fmt.Errorf("%w; name a file that can be read with --config", err)}
	}
	s, err := parseConfig(file, data)
	if err != nil {
		return nil, err
	}
	s.piped = files.IsPipe(context.Background(), file)
	return s, nil
}

// parseConfig is loadConfig for the content of a file.
func parseConfig(file string, data []byte) (*settings, error) {
	source := files.WithoutBOM(data) // Windows' editors put a BOM there
	s, errs := readConfig(source)
	if len(errs) > 0 {
		return nil, mistakes(file, errs)
	}
	s.File, s.source, s.digest = file, source, sha256.Sum256(data)
	return s, nil
}

// readConfig returns the mistakes in the order of their places.
func readConfig(data []byte) (*settings, []error) {
	doc, errs := readYAML(data)
	if len(errs) > 0 {
		return nil, errs
	}
	values, err := newLayers(doc.tree)
	if err != nil {
		return nil, []error{err}
	}
	var keys fileConfig
	d := decoder{values: values}
	d.section(nil, doc.tree, reflect.ValueOf(&keys).Elem())
	form := slices.Concat(d.errs, unknownVariables(os.Environ(), values.keys))
	s := &settings{
		Proxy:      proxy.Config{Config: keys.proxyConfig()},
		Log:        keys.Log,
		Admin:      keys.adminConfig(),
		AllReady:   keys.Admin.Ready == "all",
		DrainDelay: keys.Drain.Delay,
		OTLP:       telemetry.OTLP(keys.Telemetry.OTLP),
		keys:       &keys,
		document:   doc,
		values:     values,
	}
	plan, err := s.Proxy.Compile()
	s.plan = plan
	later := slices.Concat(unjoin(err), unjoin(s.Admin.Validate()), unjoin(s.OTLP.Validate()))
	if len(form)+len(later) == 0 {
		return s, nil
	}
	later = slices.Concat(later, unjoin(s.Proxy.CheckFiles()), unjoin(s.Admin.CheckFiles()), unjoin(s.OTLP.CheckFiles()))
	if s.Admin.Bind != "" || s.OTLP.Endpoint != "" {
		later = append(later, unjoin(telemetry.CheckEnvironment(context.Background()))...)
	}
	return nil, doc.locate(values, slices.Concat(form, doc.independent(form, later)))
}

// forget drops what only the check of the configuration needs: large files take much of it.
func (s *settings) forget() { s.plan, s.document, s.values = nil, nil, nil }

// mistakes are the lines about mistakes in the configuration, or in files that it names;
// err joins them.
func (s *settings) mistakes(err error) error {
	return mistakes(s.File, s.document.locate(s.values, unjoin(err)))
}

// layers are the sources of a scalar key's value: its environment variable, else the
// file, else its default. Viper does the layering.
type layers struct {
	viper     *viper.Viper
	keys      map[string]string // environment variable -> its key
	overrides map[string]string // key -> its environment variable, if that is set
}

// delimiter separates the keys of a path inside viper. No key has it, so a dot in a
// name is never taken for a path.
const delimiter = "\x00"

func newLayers(tree map[string]any) (*layers, error) {
	l := &layers{
		viper:     viper.NewWithOptions(viper.KeyDelimiter(delimiter), viper.WithDecoderRegistry(treeDecoder(tree))),
		keys:      map[string]string{},
		overrides: map[string]string{},
	}
	l.viper.SetConfigType("yaml")
	return l, l.viper.ReadConfig(bytes.NewReader(nil))
}

// treeDecoder gives viper a file that has been read already. MergeConfigMap would
// compare each key of a map with all others of it.
type treeDecoder map[string]any

// Decoder returns t.
func (t treeDecoder) Decoder(string) (viper.Decoder, error) { return t, nil }

// Decode copies t into v, of which viper lower-cases the keys in place.
func (t treeDecoder) Decode(_ []byte, v map[string]any) error {
	maps.Copy(v, cloneMaps(t))
	return nil
}

// cloneMaps copies a map and those inside it.
func cloneMaps(tree map[string]any) map[string]any {
	clone := maps.Clone(tree)
	for key, value := range clone {
		if m, ok := value.(map[string]any); ok {
			clone[key] = cloneMaps(m)
		}
	}
	return clone
}

// value is the value of a scalar key: a text where it comes from a variable or the
// default, and the value as YAML decodes it where it comes from the file; nil: it is not
// set. The error says that two keys share a variable.
func (l *layers) value(path keyPath, def string) (any, error) {
	key, variable := path.String(), path.variable()
	if other, taken := l.keys[variable]; taken {
		return nil, &config.Error{
			Key:     key,
			Problem: fmt.Sprintf("its environment variable %s is that of %s too", variable, other),
			Fix:     "rename a cluster or listener",
		}
	}
	l.keys[variable] = key
	if os.Getenv(variable) != "" { // to viper, too, an empty one is unset
		l.overrides[key] = variable
	}
	name := strings.Join(path, delimiter)
	if err := l.viper.BindEnv(name, variable); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if def != "" {
		l.viper.SetDefault(name, def)
	}
	return l.viper.Get(name), nil
}

// overridden reports whether the key's environment variable is set.
func (l *layers) overridden(path keyPath) bool {
	_, ok := l.overrides[path.String()]
	return ok
}

// overriddenBelow reports whether the environment variable of a key of the section is
// set, among those that have been read.
func (l *layers) overriddenBelow(section keyPath) bool {
	for key := range l.overrides {
		if strings.HasPrefix(key, section.String()+".") {
			return true
		}
	}
	return false
}

// unjoin is the opposite of errors.Join.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	type joined interface {
		error
		Unwrap() []error
	}
	if j, ok := errors.AsType[joined](err); ok {
		return j.Unwrap()
	}
	return []error{err}
}
