package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
)

// settings are a configuration file as kproxy uses it.
type settings struct {
	File  string // its name, for errors
	Proxy proxy.Config
	Log   logKeys

	Admin      admin.Config
	AllReady   bool // every cluster must answer for kproxy to be ready
	DrainDelay time.Duration
	OTLP       telemetry.OTLP
}

// maxConfig bounds a configuration file, in bytes: 10,000 listeners have some 5 MB.
const maxConfig = 64 << 20

// loadConfig reads a configuration file and the environment variables that
// override it, and validates what they make together. The error is a
// [*usageError] with one line for each mistake, every one naming the file:
// those of its form, or, if there is none, those of its meaning.
func loadConfig(file string) (*settings, error) {
	if file == "" {
		return nil, &usageError{errors.New("--config is missing; name the configuration file")}
	}
	data, err := files.ReadArgument(context.Background(), file, maxConfig)
	if err != nil {
		return nil, &usageError{fmt.Errorf("%w; name a file that can be read with --config", err)}
	}
	s, err := readConfig(files.WithoutBOM(data)) // Windows' editors put a BOM there
	if err != nil {
		return nil, mistakes(file, err)
	}
	s.File = file
	return s, nil
}

// mistakes has one line for each mistake in a configuration file.
func mistakes(file string, err error) *usageError {
	var lines []error
	for _, err := range unjoin(err) {
		lines = append(lines, fmt.Errorf("%s: %w", file, err))
	}
	return &usageError{errors.Join(lines...)}
}

func readConfig(data []byte) (*settings, error) {
	tree, err := readYAML(data)
	if err != nil {
		return nil, err
	}
	values, err := newLayers(data)
	if err != nil {
		return nil, err
	}
	var keys fileConfig
	d := decoder{values: values}
	d.section(nil, tree, reflect.ValueOf(&keys).Elem())
	d.errs = append(d.errs, unknownVariables(os.Environ(), values.keys)...)
	if len(d.errs) > 0 {
		return nil, values.blame(errors.Join(d.errs...))
	}
	s := &settings{
		Proxy:      keys.proxyConfig(),
		Log:        keys.Log,
		Admin:      keys.adminConfig(),
		AllReady:   keys.Admin.Ready == "all",
		DrainDelay: keys.Drain.Delay,
		OTLP:       telemetry.OTLP(keys.Telemetry.OTLP),
	}
	mistakes := slices.Concat(unjoin(s.Proxy.Validate()), unjoin(s.Admin.Validate()), unjoin(s.OTLP.Validate()))
	if err := values.blame(errors.Join(mistakes...)); err != nil {
		return nil, err
	}
	return s, nil
}

// layers are where the value of a scalar key comes from: its environment
// variable, else the file, else its default. Viper does the layering; it reads
// the file for itself.
type layers struct {
	viper     *viper.Viper
	keys      map[string]string // environment variable -> its key
	overrides map[string]string // key -> its environment variable, where that is set
}

// delimiter parts the keys of a path inside viper. No YAML text can hold it, so
// a dot in a name is never taken for a path.
const delimiter = "\x00"

func newLayers(data []byte) (*layers, error) {
	l := &layers{
		viper:     viper.NewWithOptions(viper.KeyDelimiter(delimiter)),
		keys:      map[string]string{},
		overrides: map[string]string{},
	}
	l.viper.SetConfigType("yaml")
	return l, l.viper.ReadConfig(bytes.NewReader(data))
}

// value is what a scalar key is set to: a text where it comes from a variable or
// the default, and whatever YAML makes of it where it comes from the file; nil:
// nothing sets it. The error says that two keys share a variable.
func (l *layers) value(path keyPath, def string) (any, error) {
	key, variable := path.String(), path.variable()
	if other, taken := l.keys[variable]; taken {
		return nil, &proxy.ConfigError{
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

// overridden says whether the key's environment variable is set.
func (l *layers) overridden(path keyPath) bool {
	_, ok := l.overrides[path.String()]
	return ok
}

// overriddenBelow says whether the environment variable of a key of the section
// is set, of those that have been read.
func (l *layers) overriddenBelow(section keyPath) bool {
	for key := range l.overrides {
		if strings.HasPrefix(key, section.String()+".") {
			return true
		}
	}
	return false
}

// blame adds the environment variable to mistakes in values that came from one.
func (l *layers) blame(err error) error {
	var errs []error
	for _, err := range unjoin(err) {
		if bad, ok := errors.AsType[*proxy.ConfigError](err); ok {
			if variable, ok := l.overrides[bad.Key]; ok {
				err = &proxy.ConfigError{Key: bad.Key + " (" + variable + ")", Problem: bad.Problem, Fix: bad.Fix}
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// unjoin is the opposite of errors.Join.
func unjoin(err error) []error {
	type joined interface {
		error
		Unwrap() []error
	}
	if j, ok := errors.AsType[joined](err); ok {
		return j.Unwrap()
	}
	return []error{err}
}
