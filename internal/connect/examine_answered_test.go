package connect

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/doctor"
	"kproxy/internal/namelab"
	"kproxy/internal/portlab"
	"kproxy/internal/racelab"
	"kproxy/internal/wire"
	"kproxy/proxy/config"
)

// A port that has responded to ApiVersions is a broker's, whatever it does at Metadata.
func TestExamineAfterApiVersions(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		metadata func(c net.Conn, correlation int32) // writes the bytes in place of a response
		says     string
	}{
		"no brokers": {func(c net.Conn, correlation int32) {
			resp := kmsg.NewPtrMetadataResponse()
			resp.Version = 4
			payload := resp.AppendTo(nil)
			_, _ = c.Write(append(wire.AppendResponsePrefix(nil, correlation, len(payload)), payload...))
			_, _ = io.Copy(io.Discard, c)
		}, "names no brokers"},
		"silence": {func(c net.Conn, _ int32) { _, _ = io.Copy(io.Discard, c) }, "no response in time"},
		"too large": {func(c net.Conn, correlation int32) {
			_, _ = c.Write(wire.AppendResponsePrefix(nil, correlation, 2<<20))
		}, "a response of 2097156 bytes"},
		"half a response": {func(c net.Conn, correlation int32) {
			_, _ = c.Write(append(wire.AppendResponsePrefix(nil, correlation, 200), 0))
		}, "closes the connection before the response is complete"},
		"malformed": {func(c net.Conn, correlation int32) {
			_, _ = c.Write(append(wire.AppendResponsePrefix(nil, correlation, 200), strings.Repeat("\xff", 200)...))
		}, "Metadata"},
		"another's request": {func(c net.Conn, correlation int32) {
			_, _ = c.Write(append(wire.AppendResponsePrefix(nil, correlation+7, 200), make([]byte, 200)...))
		}, "not a Kafka response"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, _ := options(t, serving(t, func(c net.Conn) {
				_, _, correlation, err := nextRequest(c)
				if err != nil {
					return
				}
				payload := aBrokersVersions().AppendTo(nil)
				_, _ = c.Write(append(wire.AppendResponsePrefix(nil, correlation, len(payload)), payload...))
				if _, _, correlation, err = nextRequest(c); err == nil {
					tt.metadata(c, correlation)
				}
			}))
			r, words := examined(t, o)
			f := r.Findings[0]
			if got := strings.Join(words, ", "); got != "-1 kafka kafka_failed" || !strings.Contains(f.Reason, tt.says) || !strings.Contains(f.Reason, "responds to ApiVersions") {
				t.Errorf("%s: %s; want kafka_failed, with %q", got, f.Reason, tt.says)
			}
		})
	}
}

// failingCommand is the first argument by which the test's binary becomes a command of --via
// that fails.
const failingCommand = "failing-command"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == failingCommand {
		os.Exit(fail(os.Args[2])) //nolint:forbidigo // the command's status
	}
	namelab.Use()
	racelab.WaitTogether()
	m.Run()
}

// fail is such a command.
func fail(when string) (code int) {
	if when == "at-once" {
		_ = os.Stdin.Close()
		fmt.Fprintln(os.Stderr, "no such pod")
		return 4
	}
	_, _ = io.ReadFull(os.Stdin, make([]byte, 4))
	fmt.Fprintln(os.Stderr, "no route to pod")
	return 3
}

// The end of a command of --via is reported with its exit code and its output.
func TestExamineCommandThatFails(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		command string // of failingCommand
		tls     bool
		says    string
	}{
		"after the request": {"after-a-request", false, `exit status 3: "no route to pod"`},
		"at once":           {"at-once", false, `exit status 4: "no such pod"`},
		"in a handshake":    {"after-a-request", true, `exit status 3: "no route to pod"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, _ := options(t, "broker.example.com:9092")
			o.Via = config.Via{URL: "exec:'" + self + "' " + failingCommand + " " + tt.command + " {host} {port}"}
			if tt.tls {
				o.TLS = &config.UpstreamTLS{}
			}
			r, words := examined(t, o)
			f := r.Findings[0]
			if got := strings.Join(words, ", "); got != "-1 connect via_failed" || !strings.Contains(f.Reason, tt.says) || !strings.Contains(f.Fix.Text, "by hand") {
				t.Errorf("%s: %s; fix: %s", got, f.Reason, f.Fix.Text)
			}
		})
	}
}

// An id that stands for no one broker is a verdict, and neither an error of kproxy's flags nor
// that of a bootstrap address.
func TestExamineInvalidIDs(t *testing.T) {
	closed := portlab.Closed(t)
	for name, tt := range map[string]struct {
		nodes []int32
		want  string
	}{
		"negative":         {[]int32{-1, 0}, "-1 arrived, -1 name id_invalid, 0 arrived"},
		"the least":        {[]int32{-2147483648, 0}, "-1 arrived, -2147483648 name id_invalid, 0 arrived"},
		"twice":            {[]int32{1, 1}, "-1 arrived, 1 name id_invalid, 1 name id_invalid"},
		"beside a failure": {[]int32{-1, 0, 5}, "-1 arrived, -1 name id_invalid, 0 arrived, 5 connect refused"},
	} {
		t.Run(name, func(t *testing.T) {
			var all []Broker
			at := byHand(t, naming(func() []Broker { return all }))
			for i, node := range tt.nodes {
				b := Broker{Node: node, Host: fmt.Sprintf("127.0.0.%d", 9+i)}
				where := at
				if node == 5 {
					where = closed
				}
				host, port, _ := net.SplitHostPort(where)
				if node == 0 || node == 5 {
					b.Host = host
				}
				_, _ = fmt.Sscan(port, &b.Port)
				all = append(all, b)
			}
			o, _ := options(t, at)
			r, words := examined(t, o)
			if got := strings.Join(words, ", "); got != tt.want || r.Sound() {
				t.Errorf("%s, want %s; sound: %t", got, tt.want, r.Sound())
			}
			f := r.Findings[1]
			var json strings.Builder
			if err := r.JSON(&json); err != nil || strings.Count(json.String(), `"node": null`) != 1 || f.Who() != fmt.Sprintf("node %d", tt.nodes[0]) || !strings.Contains(f.Reason, "id") || f.Verdict != doctor.BadID {
				t.Errorf("%v: %s: %s\n%s", err, f.Who(), f.Reason, json.String())
			}
		})
	}
}
