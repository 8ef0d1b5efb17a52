package rewrite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// decodable are all responses that Decode reads.
func decodable() (all []answer) {
	for key, inspector := range inspectors {
		for v := range inspector.newest + 1 {
			all = append(all, answer{key, v})
		}
	}
	for _, a := range []struct{ key, first, last int16 }{
		{kmsg.FindCoordinator.Int16(), 3, 6}, {kmsg.DescribeCluster.Int16(), 0, 2},
	} {
		for v := a.first; v <= a.last; v++ {
			all = append(all, answer{a.key, v})
		}
	}
	return all
}

// A response that kmsg writes is decoded to the same response.
func TestDecodeReadsWhatKmsgWrites(t *testing.T) {
	g := newGenerator(1)
	for _, a := range decodable() {
		for range 20 {
			want := g.response(a.key, a.version)
			got := newResponse(a.key, a.version)
			if err := Decode(got, encode(want, headerTags)); err != nil {
				t.Fatalf("%s v%d: %v\n%s", kmsg.NameForKey(a.key), a.version, err, show(want))
			}
			bodyEquals(t, got, want)
		}
	}
}

// A false count costs nothing, wherever it is.
func TestDecodeTrustsNoCount(t *testing.T) {
	g := newGenerator(2)
	for _, a := range decodable() {
		payload := encode(g.response(a.key, a.version), nil)
		payload = payload[:min(len(payload), 2000)]
		for at := range payload {
			for _, lie := range []string{"\x7f\xff\xff\xff", "\xff\xff\xff\xff\x0f", "\x00\x0f\x42\x40"} {
				spoiled := append(bytes.Clone(payload[:at]), lie...)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_ = Decode(newResponse(a.key, a.version), spoiled)
				runtime.ReadMemStats(&after)
				if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
					t.Fatalf("%s v%d: %d bytes were allocated for %d", kmsg.NameForKey(a.key), a.version, n, len(spoiled))
				}
			}
		}
	}
}

func TestDecodeRefusesByName(t *testing.T) {
	metadata := newResponse(kmsg.Metadata.Int16(), 4)
	brokers := append(make([]byte, 4), binary.BigEndian.AppendUint32(nil, 16_777_100)...)
	if err := Decode(metadata, append(brokers, make([]byte, 1<<10)...)); !errors.Is(err, wire.ErrTooManyElements) {
		t.Errorf("16 million brokers: got %v", err)
	}
	for _, a := range []answer{{kmsg.Metadata.Int16(), 12}, {kmsg.Heartbeat.Int16(), 0}, {kmsg.ApiVersions.Int16(), 99}} {
		if err := Decode(newResponse(a.key, a.version), make([]byte, 100)); err == nil || !strings.Contains(err.Error(), "not decoded by this build") {
			t.Errorf("%s v%d: got %v", kmsg.NameForKey(a.key), a.version, err)
		}
	}
}

// FuzzDecode checks that kmsg decodes every payload alike that Decode accepts, and that
// Decode accepts every payload that kmsg would have written.
func FuzzDecode(f *testing.F) {
	g := newGenerator(3)
	g.plain = true
	all := decodable()
	for i, a := range all {
		f.Add(uint8(i), encode(g.response(a.key, a.version), nil))
	}
	f.Fuzz(func(t *testing.T, pick uint8, payload []byte) {
		a := all[int(pick)%len(all)]
		got := newResponse(a.key, a.version)
		err := Decode(got, payload)
		want, ok := canonical(a.key, a.version, payload)
		switch {
		case ok && err != nil && !errors.Is(err, wire.ErrTooManyElements) && !errors.Is(err, wire.ErrTooManyTags):
			t.Errorf("%s v%d: kmsg reads it, and Decode says %v", kmsg.NameForKey(a.key), a.version, err)
		case ok && err == nil:
			bodyEquals(t, got, want)
		}
	})
}

// Decode is the one caller of kmsg's ReadFrom on a peer's bytes.
func TestOnlyDecodeLetsKmsgRead(t *testing.T) {
	allowed := map[string]bool{
		"rewrite/decode.go":  true,
		"rewrite/refusal.go": true, // reads bytes that it has just written itself
	}
	var found int
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != ".." || name == "e2e" || name == "bench" || name == "internal/simulate" || name == "vendor") {
			return filepath.SkipDir // these are not part of the product
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, isCall := n.(*ast.CallExpr)
			if !isCall {
				return true
			}
			method, isMethod := call.Fun.(*ast.SelectorExpr)
			if isMethod && (method.Sel.Name == "ReadFrom" || method.Sel.Name == "UnsafeReadFrom") {
				if found++; !allowed[name] {
					t.Errorf("%s calls ReadFrom; use rewrite.Decode", name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < len(allowed) {
		t.Errorf("%d calls were found, want one in each of %v", found, allowed)
	}
}
