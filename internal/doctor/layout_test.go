package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// kraft is the configuration of a combined node of Kafka.
var kraft = map[string]string{
	"listeners": "PLAINTEXT://:9092,CONTROLLER://:9093", "advertised.listeners": "PLAINTEXT://b0:9092",
	"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL", "controller.listener.names": "CONTROLLER",
}

func TestLayoutAdd(t *testing.T) {
	with := func(key, value string) map[string]string {
		values := maps.Clone(kraft)
		values[key] = value
		return values
	}
	for name, tt := range map[string]struct {
		values map[string]string
		old    string
		want   string
	}{
		"read": {kraft, "b0:9092", "listeners=PLAINTEXT://:9092,CONTROLLER://:9093,EXTERNAL://:19092 advertised.listeners=PLAINTEXT://b0:9092,EXTERNAL://h:19092 " +
			"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTERNAL:SSL"},
		"nothing is advertised explicitly": {with("advertised.listeners", ""), "b0:9092", "listeners=PLAINTEXT://:9092,CONTROLLER://:9093,EXTERNAL://:19092 " +
			"advertised.listeners=PLAINTEXT://b0:9092,EXTERNAL://h:19092 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTERNAL:SSL"},
		"the name and the port are taken": {with("listeners", "PLAINTEXT://:9092,EXTERNAL://:19092"), "b0:9092", "listeners=PLAINTEXT://:9092,EXTERNAL://:19092,EXTERNAL2://:19093 " +
			"advertised.listeners=PLAINTEXT://b0:9092,EXTERNAL2://h:19093 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,EXTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTERNAL2:SSL"},
		"the map has no controller": {with("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"), "b0:9092", "listeners=PLAINTEXT://:9092,CONTROLLER://:9093,EXTERNAL://:19092 " +
			"advertised.listeners=PLAINTEXT://b0:9092,EXTERNAL://h:19092 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTERNAL:SSL"},
		"no map, and the controller is another process": {map[string]string{"listeners": "SSL://:9092", "advertised.listeners": "SSL://b0:9092", "controller.listener.names": "CTL"}, "b0:9092", "listeners=SSL://:9092,EXTERNAL://:19092 " +
			"advertised.listeners=SSL://b0:9092,EXTERNAL://h:19092 listener.security.protocol.map=SSL:SSL,CTL:PLAINTEXT,EXTERNAL:SSL"},
		"bound to one address": {map[string]string{"listeners": "PLAINTEXT://127.0.0.21:9092,B://[::1]:9093"}, "b0:9092", "listeners=PLAINTEXT://127.0.0.21:9092,B://[::1]:9093,EXTERNAL://:19092 " +
			"advertised.listeners=PLAINTEXT://127.0.0.21:9092,B://[::1]:9093,EXTERNAL://h:19092 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,B:PLAINTEXT,EXTERNAL:SSL"},
		"bound to the address of this listener": {map[string]string{"listeners": "PLAINTEXT://127.0.0.21:9092,B://[::1]:9093"}, "[::1]:9093", "listeners=PLAINTEXT://127.0.0.21:9092,B://[::1]:9093,EXTERNAL://[::1]:19093 " +
			"advertised.listeners=PLAINTEXT://127.0.0.21:9092,B://[::1]:9093,EXTERNAL://h:19093 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,B:PLAINTEXT,EXTERNAL:SSL"},
		"bound to one address, and a name is advertised": {map[string]string{"listeners": "PLAINTEXT://127.0.0.21:9092", "advertised.listeners": "PLAINTEXT://b0:9092"}, "b0:9092", "listeners=PLAINTEXT://127.0.0.21:9092,EXTERNAL://127.0.0.21:19092 " +
			"advertised.listeners=PLAINTEXT://b0:9092,EXTERNAL://h:19092 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,EXTERNAL:SSL"},
		"not read": {nil, "[fd00::2]:60000", "listeners=INTERNAL://:60000,EXTERNAL://:50000 advertised.listeners=INTERNAL://[fd00::2]:60000,EXTERNAL://h:50000 " +
			"listener.security.protocol.map=INTERNAL:SSL,EXTERNAL:SSL inter.broker.listener.name=INTERNAL"},
		"an address that is none": {nil, "$(reboot):9092", "listeners=INTERNAL://:9092,EXTERNAL://:19092 advertised.listeners=INTERNAL://HOST:9092,EXTERNAL://h:19092 " +
			"listener.security.protocol.map=INTERNAL:SSL,EXTERNAL:SSL inter.broker.listener.name=INTERNAL"},
	} {
		lines, address := ParseLayout(tt.values).add(tt.old, "h", "SSL", "INTERNAL")
		if got := strings.Join(lines, " "); got != tt.want || !strings.HasSuffix(lines[1], "://"+address) {
			t.Errorf("%s: %s\n%s\nwant\n%s", name, address, got, tt.want)
		}
	}
}

// The listener's name of a broker that could not be asked may be known from another one.
func TestLayoutAddByName(t *testing.T) {
	lines, _ := Layout{}.add("b1:9092", "h", "SSL", "CLOUD")
	want := []string{"listeners=CLOUD://:9092,EXTERNAL://:19092", "advertised.listeners=CLOUD://b1:9092,EXTERNAL://h:19092", "listener.security.protocol.map=CLOUD:SSL,EXTERNAL:SSL"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

func TestLayoutAdvertise(t *testing.T) {
	for name, tt := range map[string]struct {
		values       map[string]string
		old, address string
		want         string
	}{
		"read":                       {kraft, "B0:9092", "h:1", "advertised.listeners=PLAINTEXT://h:1"},
		"read, and another address":  {kraft, "x:9092", "h:1", "advertised.listeners=NAME://h:1"},
		"a zone":                     {map[string]string{"listeners": "A://:1,B://:2"}, "[::1%x\ny=z]:2", "h:3", "advertised.listeners=A://HOST:1,B://h:3"},
		"not read":                   {nil, "x:9092", "h:1", "advertised.listeners=NAME://h:1"},
		"a place for the user":       {nil, "x:9092", "HOST:PORT", "advertised.listeners=NAME://HOST:PORT"},
		"one of two that are there":  {map[string]string{"listeners": "A://:1,B://:2", "advertised.listeners": "A://a:1,B://b:2"}, "b:2", "h:3", "advertised.listeners=A://a:1,B://h:3"},
		"read, and for the user":     {kraft, "b0:9092", "HOST:PORT", "advertised.listeners=PLAINTEXT://HOST:PORT"},
		"that of another listener":   {map[string]string{"listeners": "A://:1,B://:2", "advertised.listeners": "A://b:1,B://b:1", "listener.security.protocol.map": "A:PLAINTEXT,B:SSL"}, "b:1", "b:2", "advertised.listeners=A://b:1,B://b:2"},
		"0.0.0.0, none is set apart": {map[string]string{"listeners": "A://0.0.0.0:1,B://:2"}, "a:1", "h:3", "advertised.listeners=A://h:3,B://a:2"},
	} {
		if got := strings.Join(ParseLayout(tt.values).advertise(tt.old, tt.address, "SSL", "NAME"), " "); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// A configuration that is not as Kafka writes it is not read.
func TestParseLayoutRefuses(t *testing.T) {
	for _, values := range []map[string]string{
		{},
		{"listeners": "PLAINTEXT"},
		{"listeners": "A B://:1"},
		{"listeners": "A://$(reboot):1"},
		{"listeners": "A://:1", "listener.security.protocol.map": "A"},
		{"listeners": "A://:1", "listener.security.protocol.map": "A:P\nevil=1"},
		{"listeners": "A://:1", "controller.listener.names": "A;B"},
		{"listeners": "A://:1", "advertised.listeners": "A://[fe80::1%$(reboot)]:1"},
		{"listeners": strings.Repeat("A://:1,", 70)},
		{"listeners": strings.Repeat("A://:1,", 4000)},
	} {
		if got := ParseLayout(values); got.Listeners != nil {
			t.Errorf("%.80v: got %.80v", values, got)
		}
	}
}

// For any configuration of a broker, the lines to paste have the four keys only.
func FuzzLayout(f *testing.F) {
	f.Add(kraft["listeners"], kraft["advertised.listeners"], kraft["listener.security.protocol.map"], "CONTROLLER", "b0:9092")
	f.Add("A://0.0.0.0:1,B://[::1]:2", "", "A:SSL", "", "[fd00::1]:65535")
	f.Add("A://:1", "A://$(x):1", "A:B\n", "x\ny=z", "a\nb:1")
	f.Fuzz(func(t *testing.T, listeners, advertised, protocols, controllers, old string) {
		l := ParseLayout(map[string]string{"listeners": listeners, "advertised.listeners": advertised, "listener.security.protocol.map": protocols, "controller.listener.names": controllers})
		lines, _ := l.add(old, "h", "SSL", "INTERNAL")
		lines = append(lines, l.advertise(old, "h:1", "SSL", "NAME")...)
		for _, line := range lines {
			key, value, ok := strings.Cut(line, "=")
			if !ok || !slices.Contains([]string{"listeners", "advertised.listeners", "listener.security.protocol.map", "inter.broker.listener.name"}, key) {
				t.Errorf("%q", line)
			}
			odd := func(r rune) bool {
				return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(":/.,-_[]", r)
			}
			if strings.ContainsFunc(value, odd) || len(value) > 3*maxLayout {
				t.Errorf("%q", line)
			}
		}
	})
}

func TestEnv(t *testing.T) {
	got := env([]string{"advertised.listeners=A://h:1", "inter.broker.listener.name=A"})
	if want := []string{"KAFKA_ADVERTISED_LISTENERS=A://h:1", "KAFKA_INTER_BROKER_LISTENER_NAME=A"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{
		"b0:9092": "b0:9092", "--tls": "--tls", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "a=b": "a=b", "=b": "'=b'", "~/x": "'~/x'", "ssh://me@h": "ssh://me@h",
		"exec:nc {host} {port}": "'exec:nc {host} {port}'",
	} {
		if got := Quote(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

func ExampleUser_Line() {
	u := User{Args: []string{"b0.example.com:9093", "--tls", "--ca", "my ca.pem"}}
	fmt.Println(u.Line("connect"))
	// Output: kproxy connect b0.example.com:9093 --tls --ca 'my ca.pem'
}
