package rewrite

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// brokersDomain is in every name of the brokers that were recorded.
const brokersDomain = ".us-west-2.compute.internal"

// frame is a line of a transcript: a real client's request to a real broker through
// kproxy, or the broker's response.
type frame struct {
	line         int
	key, version int16
	request      bool
	bytes        []byte
}

func (f frame) String() string {
	return fmt.Sprintf("line %d, %s v%d", f.line, kmsg.NameForKey(f.key), f.version)
}

// transcript reads a file that e2e/compat/record.go has written.
func transcript(t *testing.T, file string) []frame {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var frames []frame
	lines := bufio.NewScanner(bytes.NewReader(content))
	for n := 1; lines.Scan(); n++ {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		f := frame{line: n}
		var name, kind, text string
		if _, err := fmt.Sscanf(lines.Text(), "%s %d v%d %s %s", &name, &f.key, &f.version, &kind, &text); err != nil {
			t.Fatalf("%s:%d: %v", file, n, err)
		}
		if f.bytes, err = hex.DecodeString(text); err != nil {
			t.Fatalf("%s:%d: %v", file, n, err)
		}
		f.request = kind == "request"
		frames = append(frames, f)
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return frames
}

// TestTranscripts replays the responses of brokers of every tested release to real
// clients, so that a change which breaks an old one is found without starting it.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/kafka-*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("transcripts: got %d, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			named := 0
			for _, f := range transcript(t, file) {
				if f.request {
					checkRequest(t, f)
				} else {
					named += checkResponse(t, f)
				}
			}
			if named == 0 {
				t.Error("responses that name a broker: got none")
			}
		})
	}
}

// checkRequest wants a request's header to be where it is looked for.
func checkRequest(t *testing.T, f frame) {
	t.Helper()
	flexible := FlexibleRequest(f.key, f.version)
	h, err := wire.ParseRequestHeader(f.bytes, flexible)
	if err != nil || h.Key != f.key || h.Version != f.version {
		t.Errorf("%v: got key %d, version %d, %v", f, h.Key, h.Version, err)
		return
	}
	req := kmsg.RequestForKey(f.key)
	if req == nil || f.version > req.MaxVersion() {
		return
	}
	req.SetVersion(f.version)
	if err := req.ReadFrom(f.bytes[h.Len:]); err != nil {
		t.Errorf("%v: kmsg cannot read the body: %v", f, err)
	}
	if f.key == kmsg.Produce.Int16() {
		acks, err := wire.ProduceAcks(f.bytes, h, flexible)
		if want := req.(*kmsg.ProduceRequest).Acks; err != nil || acks != want {
			t.Errorf("%v: acks: got %d, %v, want %d", f, acks, err, want)
		}
	}
}

// checkResponse rewrites a response there and back again, and returns how many
// brokers it names. The way back must lead to the bytes that the broker wrote.
func checkResponse(t *testing.T, f frame) (named int) {
	t.Helper()
	if f.key == kmsg.ApiVersions.Int16() && AnswersAPIVersions(f.key, f.version) {
		return 0
	}
	payload := f.bytes[wire.ResponsePrefixLen:]
	original := make(map[int32]Broker)
	there := &Rewriter{Translate: func(_ int16, brokers Brokers) {
		for i := range brokers.List {
			b := &brokers.List[i]
			original[b.Node] = *b
			if b.Host != "" { // a coordinator that is not there has no address
				b.Host, b.Port = "told-"+strconv.Itoa(int(b.Node)), 30000+b.Node
			}
		}
	}}
	back := &Rewriter{Translate: func(_ int16, brokers Brokers) {
		for i := range brokers.List {
			b := &brokers.List[i]
			b.Host, b.Port = original[b.Node].Host, original[b.Node].Port
		}
	}}
	told := rewriteAll(t, there, f.key, f.version, payload, false)
	if bytes.Contains(told, []byte(brokersDomain)) {
		t.Errorf("%v: a broker's name is left: %q", f, head(told))
	}
	version := f.version
	if f.key == kmsg.ApiVersions.Int16() && len(told) > 2 && told[1] == byte(kerr.UnsupportedVersion.Code) {
		version = 0 // this response is for clients that know no other version
	}
	if _, err := tryDecode(f.key, version, told); err != nil {
		t.Errorf("%v: kmsg cannot decode it: %v", f, err)
	}
	switch kmsg.Key(f.key) {
	case kmsg.ApiVersions, kmsg.DescribeConfigs, kmsg.DescribeQuorum:
		return 0 // that way leads nowhere back
	default:
	}
	if got := rewriteAll(t, back, f.key, f.version, told, false); !bytes.Equal(got, payload) {
		t.Errorf("%v: there and back again:\ngot  % x\nwant % x", f, head(got), head(payload))
	}
	if fixed := rewriteAll(t, there, f.key, f.version, payload, true); TreatmentOf(f.key, f.version) == Walk &&
		(len(fixed) != len(payload) || bytes.Contains(fixed, []byte(brokersDomain))) {
		t.Errorf("%v: at constant length: %d bytes, want %d: %q", f, len(fixed), len(payload), head(fixed))
	}
	return len(original)
}
