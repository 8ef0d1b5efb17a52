package main

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// differenceLines returns the lines about two configurations, without the last line end.
func differenceLines(t *testing.T, before, after string) string {
	t.Helper()
	var all [2]*fileConfig
	for i, text := range []string{before, after} {
		s, err := load(t, text)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = s.keys
	}
	var b strings.Builder
	if err := printDifferences(&b, differences(all[0], all[1])); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestDifferences(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after string // keys below oneListener, or of the cluster if they are indented
		want          string
	}{
		{"nothing", "", "", ""},
		{"an explicit default", "", "drain: {timeout: 1m}", ""},
		{"another notation", "limits: {max_age: 1h}", "limits: {max_age: 60m}", ""},
		{"an empty list", "", "    brokers: []", ""},
		{"a default", "", "log: {level: debug}", "~ log.level: info -> debug"},
		{"a duration", "limits: {max_age: 90m, idle_timeout: 2h}", "limits: {max_age: 36h}", "~ limits.idle_timeout: 2h -> 0s\n~ limits.max_age: 1h30m -> 36h"},
		{"a boolean", "", "reload: {watch: false}", "~ reload.watch: true -> false"},
		{"keys without a default", "admin: {bind: 127.0.0.1:9400}", "admin: {bind: 127.0.0.1:9401, pprof: true}", "~ admin.bind: 127.0.0.1:9400 -> 127.0.0.1:9401\n+ admin.pprof: true"},
		{"a section without defaults", "admin: {bind: 127.0.0.1:9400}", "admin: {bind: 127.0.0.1:9400, tls: {cert: a b.pem, key: '#k'}}", `+ admin.tls: {cert: a b.pem, key: "#k"}`},
		{"the same, changed", "admin: {bind: 127.0.0.1:9400, tls: {cert: a, key: k}}", "admin: {bind: 127.0.0.1:9400, tls: {cert: b, key: k}}", "~ admin.tls.cert: a -> b"},
		{"a removed section", "    sasl: {mechanism: PLAIN, username: u, password_env: HOME, allow_plaintext: true}", "", "- clusters.orders.sasl:\n    {mechanism: PLAIN, username: u, password_env: HOME, allow_plaintext: true}"},
		{"an optional section", "", "    tls: {ca: ca.pem, min_version: '1.2'}", "+ clusters.orders.tls: {ca: ca.pem}"},
		{"the same, empty", "    tls: {}", "", "- clusters.orders.tls: {}"},
		{"the same, changed", "    tls: {}", "    tls: {min_version: '1.3'}", "~ clusters.orders.tls.min_version: 1.2 -> 1.3"},
		{"lists", "    brokers: ['*.internal:9092']", "    brokers: ['*.internal:9092', 'b:1']\n    source: [10.0.0.7]", `~ clusters.orders.brokers: ["*.internal:9092"] -> ["*.internal:9092", b:1]` + "\n+ clusters.orders.source: [10.0.0.7]"},
		{
			"an item at the beginning", "    dial: [{match: 'b:1', to: 'c:1'}, {node: 1, to: 'd:1'}]", "    dial: [{node: 0, to: 'a:1'}, {match: 'b:1', to: 'c:1'}, {node: 1, to: 'd:1'}]",
			"+ clusters.orders.dial[0]: {node: 0, to: a:1}",
		},
		{"an item within", "    dial: [{match: 'b:1', to: 'c:1'}, {node: 1, to: 'd:1'}]", "    dial: [{match: 'b:1', to: 'c:1'}, {node: 1, to: 'e:1'}]", "~ clusters.orders.dial[1].to: d:1 -> e:1"},
		{"an item at the end", "    dial: [{match: 'b:1', to: 'c:1'}, {node: 1, to: 'd:1'}]", "    dial: [{match: 'b:1', to: 'c:1'}]", "- clusters.orders.dial[1]: {node: 1, to: d:1}"},
		{
			"a cluster and a listener",
			"  audit: {bootstrap: ['a:1'], listeners: {x: {bind: '127.0.0.1:1', nodes: {ports: 2}}}}",
			"  logs: {bootstrap: ['a:1'], listeners: {x: {bind: '127.0.0.1:1', nodes: {ports: 2}}}}",
			"- clusters.audit\n+ clusters.logs",
		},
		{
			"pinned nodes and ranges",
			"  a: {bootstrap: ['a:1'], listeners: {x: {bind: '127.0.0.1:1', nodes: {ports: 2-9, pin: {1: 2, 10: 4, 9: 5}}}}}",
			"  a: {bootstrap: ['a:1'], listeners: {x: {bind: '127.0.0.1:1', nodes: {ports: 2-8, pin: {1: 3, 10: 4, 20: 5}}}, y: {bind: '127.0.0.2:1', nodes: {ports: 2}}}}",
			"~ clusters.a.listeners.x.nodes.ports: 2-9 -> 2-8\n~ clusters.a.listeners.x.nodes.pin.1: 2 -> 3\n- clusters.a.listeners.x.nodes.pin.9: 5\n" +
				"+ clusters.a.listeners.x.nodes.pin.20: 5\n+ clusters.a.listeners.y",
		},
		{
			"a command's arguments", "    via: 'exec:go -x secret1 {host} {port}'", "    via: 'exec:go -x secret2 {host} {port}'",
			"~ clusters.orders.via:\n    exec:go … -> exec:go … (a part that is not shown has changed)",
		},
		{
			"a query", "telemetry: {otlp: {endpoint: 'https://c/v1?key=secret1', protocol: http/protobuf}}", "telemetry: {otlp: {endpoint: 'https://d/v1?key=secret2', protocol: http/protobuf}}",
			"~ telemetry.otlp.endpoint: https://c/v1?… -> https://d/v1?…",
		},
		{
			"a long value", "", "    brokers: ['broker-1.internal.example.com:9092', 'broker-2.internal.example.com:9092']",
			"+ clusters.orders.brokers:\n    [broker-1.internal.example.com:9092, broker-2.internal.example.com:9092]",
		},
	} {
		got := differenceLines(t, oneListener+tt.before+"\n", oneListener+tt.after+"\n")
		if got != tt.want {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", tt.name, got, tt.want)
		}
		for line := range strings.Lines(got) {
			if utf8.RuneCountInString(strings.TrimSuffix(line, "\n")) > helpWidth {
				t.Errorf("%s: a line is wider than %d: %s", tt.name, helpWidth, line)
			}
		}
		if strings.Contains(got, "secret") {
			t.Errorf("%s: a secret is shown: %s", tt.name, got)
		}
	}
}

// Each key of the file has a difference: of itself, or of the section that it adds.
func TestEveryKeyHasADifference(t *testing.T) {
	keys := 0
	for _, root := range []reflect.Type{reflect.TypeFor[fileConfig](), reflect.TypeFor[clusterKeys](), reflect.TypeFor[listenerKeys]()} {
		was, now := withSections(root), withSections(root)
		var walk func(path keyPath, v reflect.Value)
		walk = func(path keyPath, v reflect.Value) {
			for i, f := range reflect.VisibleFields(v.Type()) {
				field, path := v.Field(i), path.key(f.Tag.Get("key"))
				if _, ok := scalarOf(f.Type); !ok && field.Kind() == reflect.Pointer {
					walk(path, field.Elem())
					continue
				} else if !ok && field.Kind() == reflect.Struct {
					walk(path, field)
					continue
				}
				before := reflect.ValueOf(field.Interface())
				field.Set(someValue(f.Type))
				var d differ
				d.section(nil, was, now)
				if len(d.all) != 1 || !strings.HasPrefix(d.all[0].Key, path.String()) && !strings.HasPrefix(path.String(), d.all[0].Key+".") {
					t.Errorf("%s: got %+v", path, d.all)
				}
				field.Set(before)
				keys++
			}
		}
		walk(nil, now)
	}
	if keys < 80 {
		t.Errorf("only %d keys were changed", keys)
	}
}

// withSections returns a value of a type whose optional sections are there, and empty.
func withSections(of reflect.Type) reflect.Value {
	v := reflect.New(of).Elem()
	for _, f := range v.Fields() {
		if f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.Struct {
			f.Set(reflect.New(f.Type().Elem()))
		}
	}
	return v
}

// someValue returns a value that is not zero.
func someValue(of reflect.Type) reflect.Value {
	v := reflect.New(of).Elem()
	switch of.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		v.Set(reflect.New(of.Elem()))
	case reflect.Struct: // a range
		v.Field(0).SetInt(7)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(of, 1, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(of))
		v.SetMapIndex(reflect.New(of.Key()).Elem(), reflect.New(of.Elem()).Elem())
	default:
		panic(of)
	}
	return v
}

// A value of an environment variable counts.
func TestDifferencesOfTheEnvironment(t *testing.T) {
	t.Setenv("KPROXY_LOG_LEVEL", "warn")
	if got := differenceLines(t, oneListener+"log: {level: debug}\n", oneListener); got != "" {
		t.Errorf("got %s", got)
	}
}

// A value of any length is shown in part.
func TestDifferencesAreBounded(t *testing.T) {
	brokers := strings.Repeat("'b.example.com:1', ", 5000)
	got := differenceLines(t, oneListener, oneListener+"    brokers: ["+brokers+"]\n")
	if n := len(got); n > 2*maxShown {
		t.Errorf("the difference has %d bytes", n)
	}
}

func TestWithoutSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"broker-1:9092":                    "broker-1:9092",
		"ssh://me@bastion":                 "ssh://me@bastion",
		"http://me:pa@ss/w?rd@proxy:1/x":   "http://me:…@proxy:1/x",
		"https://login.example.com/t?k=pw": "https://login.example.com/t?…",
		"https://login.example.com?k=pw":   "https://login.example.com?…",
		`"exec:ssh -i key {host}"`:         "exec:ssh …",
		"exec:connect":                     "exec:connect",
		"exec:connect pw":                  "exec:connect …",
		`"exec:nc\tpw {host}"`:             "exec:nc …",
		`"exec:nc\npw {host}"`:             "exec:nc …",
		`"exec:nc\t"`:                      `"exec:nc\t"`,
		`"exec:n\x1bc\tpw"`:                `"exec:n\x1bc" …`,
	} {
		if got := withoutSecrets(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
