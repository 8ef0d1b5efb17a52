package rewrite

import (
	"math"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The versions in parsed are those of kmsg. When this fails, kmsg has a version that is
// not reviewed here.
func TestParsedEqualsKmsg(t *testing.T) {
	for _, p := range parsed {
		resp := kmsg.ResponseForKey(p.key)
		name := kmsg.NameForKey(p.key)
		if got := resp.MaxVersion(); got != p.max {
			t.Errorf("kmsg knows %s v%d, parsed knows v%d: read the additions in Kafka's %sResponse.json; "+
				"give it a layout (or teach its decoder), look for new addresses, and then write %d into parsed",
				name, got, p.max, name, got)
		}
		for version := range p.max + 1 {
			resp.SetVersion(version)
			if got, want := flexible(p.flexible, version), resp.IsFlexible(); got != want {
				t.Errorf("%s v%d: flexible %t in parsed, %t in kmsg", name, version, got, want)
			}
		}
		if got, ok := MaxVersion(p.key); !ok || got != p.max {
			t.Errorf("MaxVersion(%s): got %d, %t, want %d", name, got, ok, p.max)
		}
	}
	if got, _ := MaxVersion(kmsg.ApiVersions.Int16()); got != apiVersionsMax {
		t.Errorf("apiVersionsMax is %d, parsed has %d", apiVersionsMax, got)
	}
}

func TestTreatmentOf(t *testing.T) {
	for _, c := range []struct {
		key         int16
		first, last int16
		want        Treatment
	}{
		{0, -1, -1, Refuse},
		{0, 0, 8, Opaque},
		{0, 9, 13, Walk},
		{0, 14, 99, Refuse},
		{1, -1, -1, Refuse},
		{1, 0, 11, Opaque},
		{1, 12, 18, Walk},
		{1, 19, 99, Refuse},
		{3, -1, -1, Refuse},
		{3, 0, 13, Head},
		{3, 14, 99, Refuse},
		{10, -1, -1, Refuse},
		{10, 0, 6, Whole},
		{10, 7, 99, Refuse},
		{18, -1, -1, Refuse},
		{18, 0, 5, Whole},
		{18, 6, 99, Refuse},
		{32, -1, -1, Refuse},
		{32, 0, 4, Settings},
		{32, 5, 99, Refuse},
		{55, -1, -1, Refuse},
		{55, 0, 2, Whole},
		{55, 3, 99, Refuse},
		{60, -1, -1, Refuse},
		{60, 0, 2, Whole},
		{60, 3, 99, Refuse},
		{78, -1, -1, Refuse},
		{78, 0, 2, Walk},
		{78, 3, 99, Refuse},
		{79, -1, -1, Refuse},
		{79, 0, 2, Walk},
		{79, 3, 99, Refuse},
		{2, 0, 99, Opaque},
		{-1, 0, 99, Opaque},
		{10001, -1, 99, Opaque},
	} {
		for version := c.first; version <= c.last; version++ {
			if got := TreatmentOf(c.key, version); got != c.want {
				t.Errorf("key %d v%d: got %d, want %d", c.key, version, got, c.want)
			}
		}
	}
}

// Every response that is walked has a layout, and kmsg agrees that it is flexible.
func TestLayoutsExist(t *testing.T) {
	for _, p := range parsed {
		for version := range p.max + 1 {
			if TreatmentOf(p.key, version) == Walk && layouts[p.key][version] == nil {
				t.Errorf("%s v%d has treatment Walk and no layout", kmsg.NameForKey(p.key), version)
			}
		}
	}
	for key, versions := range layouts {
		newest, ok := MaxVersion(key)
		if !ok || int(newest) != len(versions)-1 {
			t.Errorf("%s: layouts up to v%d, parsed up to v%d", kmsg.NameForKey(key), len(versions)-1, newest)
		}
		for version, l := range versions {
			if l != nil && !flexibleOf(key, int16(version)) {
				t.Errorf("%s v%d has a layout and is not flexible", kmsg.NameForKey(key), version)
			}
			checkLayout(t, l)
		}
	}
}

func flexibleOf(key, version int16) bool {
	resp := kmsg.ResponseForKey(key)
	resp.SetVersion(version)
	return resp.IsFlexible()
}

// checkLayout runs once through every array and looks where it comes out.
func checkLayout(t *testing.T, l layout) {
	t.Helper()
	depth := 0
	for i, s := range l {
		switch s.do {
		case beginArray:
			if end := l[i+s.n]; end.do != nextElement || i+s.n-end.n != i+1 {
				t.Errorf("step %d: an array whose end does not lead back to its first element", i)
			}
			if depth++; depth > maxDepth {
				t.Errorf("step %d: arrays lie %d deep in each other, maxDepth is %d", i, depth, maxDepth)
			}
		case nextElement:
			depth--
		case passFixed:
			if s.n <= 0 {
				t.Errorf("step %d passes %d bytes", i, s.n)
			}
		default:
		}
	}
	if len(l) > 0 && (depth != 0 || l[len(l)-1].do != atTail) {
		t.Errorf("a layout ends with %+v, %d arrays open", l[len(l)-1], depth)
	}
}

func TestFlexibleRequestEqualsKmsg(t *testing.T) {
	for key := int16(-1); key <= kmsg.MaxKey+1; key++ {
		req := kmsg.RequestForKey(key)
		if got, want := Known(key), req != nil; got != want {
			t.Errorf("Known(%d): got %t, want %t", key, got, want)
		}
		for version := math.MinInt16; version <= math.MaxInt16; version++ {
			want := false
			if req != nil {
				req.SetVersion(int16(version))
				want = req.IsFlexible()
			}
			if got := FlexibleRequest(key, int16(version)); got != want {
				t.Fatalf("FlexibleRequest(%d, %d): got %t, want %t", key, version, got, want)
			}
		}
	}
	for _, key := range []int16{-32768, 9999, 10001, 32767} {
		if Known(key) || FlexibleRequest(key, 0) {
			t.Errorf("key %d: known %t, flexible %t, want neither", key, Known(key), FlexibleRequest(key, 0))
		}
	}
}

func TestSupported(t *testing.T) {
	var got []int16
	for _, api := range Supported() {
		got = append(got, api.Key)
		if limit, ok := MaxVersion(api.Key); !ok || limit != api.MaxVersion || api.Name != kmsg.NameForKey(api.Key) {
			t.Errorf("got %+v, MaxVersion %d, name %s", api, limit, kmsg.NameForKey(api.Key))
		}
	}
	if want := []int16{0, 1, 3, 10, 18, 32, 55, 60, 78, 79}; !slices.Equal(got, want) {
		t.Errorf("got keys %v, want %v", got, want)
	}
	if _, ok := MaxVersion(2); ok {
		t.Error("MaxVersion(ListOffsets): got a limit, want none: its responses are not parsed")
	}
}

// A connection asks these for every request.
func TestTreatmentAllocatesNothing(t *testing.T) {
	if got := testing.AllocsPerRun(100, func() {
		for key := int16(-1); key <= kmsg.MaxKey+1; key++ {
			for version := range int16(20) {
				TreatmentOf(key, version)
				MaxVersion(key)
				Known(key)
				FlexibleRequest(key, version)
			}
		}
	}); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}
