package rewrite

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// api is an entry of an ApiVersions response.
type api struct{ key, low, high int16 }

// apiResponse is a response with features, and tags in every possible place.
func apiResponse(version int16, apis ...api) *kmsg.ApiVersionsResponse {
	resp := newResponse(18, version).(*kmsg.ApiVersionsResponse)
	for i, a := range apis {
		entry := kmsg.ApiVersionsResponseApiKey{ApiKey: a.key, MinVersion: a.low, MaxVersion: a.high}
		if i%3 == 1 {
			setTags(&entry, tag{6, []byte("six")}, tag{1000, nil})
		}
		resp.ApiKeys = append(resp.ApiKeys, entry)
	}
	resp.ThrottleMillis = 77
	resp.SupportedFeatures = []kmsg.ApiVersionsResponseSupportedFeature{{Name: "transaction.version", MinVersion: 0, MaxVersion: 2}}
	resp.FinalizedFeaturesEpoch = 12345
	resp.FinalizedFeatures = []kmsg.ApiVersionsResponseFinalizedFeature{
		{Name: "metadata.version", MaxVersionLevel: 25, MinVersionLevel: 1},
		{Name: "transaction.version", MaxVersionLevel: 2},
	}
	setTags(resp, tag{30, []byte("thirty")})
	return resp
}

// Every API that is parsed is shown at the newest version understood; all other
// bytes stay, so that the response keeps its length.
func TestApiVersionsLowersInPlace(t *testing.T) {
	newer := []api{
		{0, 0, 14},
		{1, 4, 19},
		{2, 1, 99},
		{3, 0, 32767},
		{8, 2, 10},
		{10, 0, 7},
		{18, 0, 6},
		{36, 0, 2},
		{60, 0, 3},
		{78, 1, 3},
		{79, 1, 4},
		{94, 0, 50},
	}
	older := []api{{0, 0, 7}, {1, 0, 10}, {3, 0, 7}, {10, 0, 2}, {18, 0, 2}, {60, 0, 0}, {78, 0, 0}, {79, 0, 0}, {55, 0, 9}}
	ours := []api{{0, 3, 13}, {1, 4, 18}, {3, 0, 13}, {10, 0, 6}, {18, 0, 5}, {60, 0, 2}, {78, 2, 2}, {79, 1, 2}}
	for version := range int16(apiVersionsMax + 1) {
		for name, apis := range map[string][]api{"newer": newer, "older": older, "ours": ours, "none": nil} {
			payload := apiResponse(version, apis...).AppendTo(nil)
			out, notes, err := untouchable(t).Whole(18, version, bytes.Clone(payload))
			if err != nil || len(notes.Hidden) != 0 {
				t.Fatalf("v%d, %s: notes %+v, %v", version, name, notes, err)
			}
			want := apiResponse(version, apis...)
			for i := range want.ApiKeys {
				if limit, ok := MaxVersion(want.ApiKeys[i].ApiKey); ok {
					want.ApiKeys[i].MaxVersion = min(want.ApiKeys[i].MaxVersion, limit)
				}
			}
			if got, want := out, want.AppendTo(nil); !bytes.Equal(got, want) || len(got) != len(payload) {
				t.Errorf("v%d, %s:\ngot  % x\nwant % x", version, name, got, want)
			}
		}
	}
}

// Kafka 4 says that it takes Produce from v0, and librdkafka compresses only
// because of that (KAFKA-18659).
func TestApiVersionsKeepsProduceMinimum(t *testing.T) {
	for version := range int16(apiVersionsMax + 1) {
		out, _, err := untouchable(t).Whole(18, version, apiResponse(version, api{0, 0, 13}).AppendTo(nil))
		if err != nil {
			t.Fatal(err)
		}
		got := decode(t, 18, version, out).(*kmsg.ApiVersionsResponse).ApiKeys[0]
		if got.MinVersion != 0 || got.MaxVersion != 13 {
			t.Errorf("v%d: Produce %d to %d, want 0 to 13", version, got.MinVersion, got.MaxVersion)
		}
	}
}

func TestApiVersionsHides(t *testing.T) {
	from := []api{{10001, 0, 1}, {0, 14, 15}, {3, 0, 13}, {95, 0, 0}, {-5, 0, 0}, {78, 3, 3}, {1, 18, 20}, {32767, 0, 0}}
	for _, c := range []struct {
		unknown bool
		want    []api
		hidden  []int16
	}{
		{false, []api{{3, 0, 13}, {1, 18, 18}}, []int16{10001, 0, 95, -5, 78, 32767}},
		{true, []api{{10001, 0, 1}, {3, 0, 13}, {95, 0, 0}, {-5, 0, 0}, {1, 18, 18}, {32767, 0, 0}}, []int16{0, 78}},
	} {
		for version := range int16(apiVersionsMax + 1) {
			r := &Rewriter{UnknownAPIs: c.unknown}
			resp := apiResponse(version, from...)
			payload := resp.AppendTo(nil)
			untouched := bytes.Clone(payload)
			out, notes, err := r.Whole(18, version, payload)
			if err != nil || !slices.Equal(notes.Hidden, c.hidden) || notes.Named != 0 {
				t.Fatalf("v%d, unknown %t: notes %+v, %v, want %v hidden", version, c.unknown, notes, err, c.hidden)
			}
			kept := resp.ApiKeys[:0]
			for _, entry := range resp.ApiKeys {
				for _, a := range c.want {
					if a.key == entry.ApiKey {
						entry.MaxVersion = a.high
						kept = append(kept, entry)
					}
				}
			}
			resp.ApiKeys = kept
			if want := resp.AppendTo(nil); !bytes.Equal(out, want) {
				t.Errorf("v%d, unknown %t:\ngot  % x\nwant % x", version, c.unknown, out, want)
			}
			if !bytes.Equal(payload, untouched) {
				t.Errorf("v%d: the input was changed", version)
			}
		}
	}
}

// An API that a listener refuses stays, at the versions that a response can refuse:
// librdkafka takes its own record format from Produce's. Its minimum stays the broker's.
// Without such a version it is left out, without a note: a newer build would not add it.
func TestApiVersionsShowsWhatIsRefused(t *testing.T) {
	refused := map[int16]bool{0: true, 2: true, 22: true, 38: true, 43: true, 58: true}
	r := &Rewriter{
		Refused: func(key int16) bool { return refused[key] },
		Hidden:  func(key int16) bool { return key == 38 },
	}
	from := []api{{0, 0, 99}, {1, 4, 99}, {2, 1, 99}, {8, 2, 99}, {19, 2, 7}, {22, 90, 99}, {38, 1, 3}, {43, 0, 2}, {58, 0, 0}, {10001, 0, 1}}
	want := []api{{0, 0, 13}, {1, 4, 18}, {2, 1, 11}, {8, 2, 99}, {19, 2, 7}, {43, 0, 2}, {58, 0, 0}}
	for version := range int16(apiVersionsMax + 1) {
		out, notes, err := r.Whole(18, version, apiResponse(version, from...).AppendTo(nil))
		if err != nil || !slices.Equal(notes.Hidden, []int16{10001}) {
			t.Fatalf("v%d: notes %+v, %v, want 10001 hidden and no other", version, notes, err)
		}
		var got []api
		for _, e := range decode(t, 18, version, out).(*kmsg.ApiVersionsResponse).ApiKeys {
			got = append(got, api{e.ApiKey, e.MinVersion, e.MaxVersion})
		}
		if !slices.Equal(got, want) {
			t.Errorf("v%d: got %v, want %v", version, got, want)
		}
	}
}

// Lowering a version for a client that may not produce harms no transaction.
func TestApiVersionsTxnNotLoweredWhereProduceIsRefused(t *testing.T) {
	resp := apiResponse(4, api{0, 0, 14})
	resp.FinalizedFeatures[1].MaxVersionLevel = 3
	r := &Rewriter{Refused: func(key int16) bool { return key == 0 }}
	if _, notes, err := r.Whole(18, 4, resp.AppendTo(nil)); err != nil || notes.TxnLowered {
		t.Errorf("got %+v, %v, want TxnLowered false", notes, err)
	}
}

// The count of entries takes two bytes before and one after.
func TestApiVersionsCountShrinks(t *testing.T) {
	var many []api
	for i := range int16(200) {
		many = append(many, api{1000 + i, 0, 0})
	}
	for version := range int16(apiVersionsMax + 1) {
		out, notes, err := untouchable(t).Whole(18, version, apiResponse(version, append(many, api{3, 0, 1})...).AppendTo(nil))
		if err != nil || len(notes.Hidden) != 200 {
			t.Fatalf("v%d: %d hidden, %v", version, len(notes.Hidden), err)
		}
		got := decode(t, 18, version, out).(*kmsg.ApiVersionsResponse)
		if len(got.ApiKeys) != 1 || got.ApiKeys[0].ApiKey != 3 || got.ThrottleMillis != 77*int32(min(version, 1)) {
			t.Errorf("v%d: got %s", version, show(got))
		}
	}
}

// A broker that does not know the requested version responds in the layout of v0,
// newer ones with an entry of their own versions (KIP-511).
func TestApiVersionsUnsupportedVersion(t *testing.T) {
	for asked := range int16(apiVersionsMax + 1) {
		for _, payload := range [][]byte{
			[]byte("\x00\x23\x00\x00\x00\x00"),
			[]byte("\x00\x23\x00\x00\x00\x01\x00\x12\x00\x00\x00\x03"),
			[]byte("\x00\x23\x00\x00\x00\x01\x00\x12\x00\x00\x00\x09"),
			AppendUnsupportedAPIVersions(nil),
		} {
			out, notes, err := untouchable(t).Whole(18, asked, payload)
			if err != nil || !same(out, payload) || len(notes.Hidden) != 0 {
				t.Errorf("v%d: got % x, %+v, %v, want % x", asked, out, notes, err, payload)
			}
		}
	}
}

// Other errors come in the layout asked for, without entries.
func TestApiVersionsErrors(t *testing.T) {
	for version := range int16(apiVersionsMax + 1) {
		for _, code := range []int16{kerr.InvalidRequest.Code, kerr.RebootstrapRequired.Code, kerr.UnknownServerError.Code} {
			resp := newResponse(18, version).(*kmsg.ApiVersionsResponse)
			resp.ErrorCode = code
			payload := resp.AppendTo(nil)
			out, notes, err := untouchable(t).Whole(18, version, payload)
			if err != nil || !bytes.Equal(out, payload) || len(notes.Hidden) != 0 || notes.TxnLowered || notes.Misrouted != (code == kerr.RebootstrapRequired.Code) {
				t.Errorf("v%d, error %d: got % x, %+v, %v, want % x", version, code, out, notes, err, payload)
			}
		}
	}
}

func TestApiVersionsNullStaysNull(t *testing.T) {
	for version, payload := range []string{"\x00\x00\xff\xff\xff\xff", "\x00\x00\xff\xff\xff\xffrest", "", "\x00\x00\x00rest"} {
		if payload == "" {
			continue
		}
		out, _, err := untouchable(t).Whole(18, int16(version), []byte(payload))
		if err != nil || string(out) != payload {
			t.Errorf("v%d: got %q, %v, want %q", version, out, err, payload)
		}
	}
}

// Entries cut short are an error; the bytes after them are not examined.
func TestApiVersionsTruncated(t *testing.T) {
	for version := range int16(apiVersionsMax + 1) {
		apis := []api{{0, 0, 20}, {3, 0, 13}, {1, 0, 3}}
		payload := apiResponse(version, apis...).AppendTo(nil)
		entries := 6
		for _, e := range apiResponse(version, apis...).ApiKeys {
			entries += 6
			if version >= 3 {
				entries += len(e.UnknownTags.AppendEach(nil)) + 1
			}
		}
		if version >= 3 {
			entries -= 3 // a compact count
		}
		for n := range payload {
			_, _, err := untouchable(t).Whole(18, version, payload[:n:n])
			if (err != nil) != (n < entries) {
				t.Errorf("v%d, %d bytes of %d, entries end at %d: %v", version, n, len(payload), entries, err)
			}
		}
	}
}

// Clients of transaction.version 2 need Produce v12, which is understood. APIs that
// clients of a later one need may have been lowered: Notes must say so.
func TestApiVersionsTxnLowered(t *testing.T) {
	for _, c := range []struct {
		version, produce, level int16
		want                    bool
	}{
		{3, 13, 3, false},
		{3, 14, 0, false},
		{3, 14, 1, false},
		{3, 14, 2, false},
		{3, 14, 3, true},
		{4, 14, 3, true},
		{5, 14, 3, true},
		{5, 99, 100, true},
		{5, 13, 100, false},
		{0, 14, 3, false},
		{1, 14, 3, false},
		{2, 14, 3, false}, // no features there
	} {
		t.Run(fmt.Sprintf("v%d, Produce %d, level %d", c.version, c.produce, c.level), func(t *testing.T) {
			resp := apiResponse(c.version, api{0, 0, c.produce}, api{3, 0, 20})
			resp.FinalizedFeatures = nil
			for _, f := range []kmsg.ApiVersionsResponseFinalizedFeature{
				{Name: "group.version", MaxVersionLevel: 9}, {Name: "transaction.version", MaxVersionLevel: c.level}, {Name: "share.version", MaxVersionLevel: 9},
			} {
				if f.Name != "transaction.version" || c.level > 0 {
					resp.FinalizedFeatures = append(resp.FinalizedFeatures, f)
				}
			}
			_, notes, err := untouchable(t).Whole(18, c.version, resp.AppendTo(nil))
			if err != nil || notes.TxnLowered != c.want {
				t.Errorf("got %+v, %v, want TxnLowered %t", notes, err, c.want)
			}
		})
	}
}

// Broken features are ignored, take no time, and pass.
func TestApiVersionsBrokenFeatures(t *testing.T) {
	front := "\x00\x00\x02\x00\x00\x00\x00\x00\x0e\x00" + "\x00\x00\x00\x00" // Produce 0 to 14, throttle time
	for _, tags := range []string{
		"", "\xff\xff\xff\xff\x0f", "\x01\x02", "\x01\x02\x05\x02", "\x01\x02\xff\xff\xff\xff\x0f",
		"\x01\x02\x05\xff\xff\xff\xff\x0f", "\x01\x02\x06\x02\x00\x00\x03\x00\x03", "\x01\x02\x00",
		"\x01\x02\x0e\x02\x02x\x00\x03\x00\x03\xff\xff\xff\xff\x0f\x00\x00\x00",
	} {
		out, notes, err := untouchable(t).Whole(18, 4, []byte(front+tags))
		if want := front[:8] + "\x0d" + front[9:] + tags; err != nil || string(out) != want || notes.TxnLowered {
			t.Errorf("tags % x: got % x, %+v, %v, want % x", tags, out, notes, err, want)
		}
	}
}

// The proxy's own response equals that of brokers.
func TestAppendUnsupportedAPIVersions(t *testing.T) {
	got := AppendUnsupportedAPIVersions([]byte("before"))
	want := binary.BigEndian.AppendUint16([]byte("before\x00\x23\x00\x00\x00\x01\x00\x12\x00\x00"), apiVersionsMax)
	if !bytes.Equal(got, want) {
		t.Errorf("got % x, want % x", got, want)
	}
	resp := decode(t, 18, 0, got[len("before"):]).(*kmsg.ApiVersionsResponse)
	if resp.ErrorCode != kerr.UnsupportedVersion.Code || len(resp.ApiKeys) != 1 ||
		resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MinVersion != 0 || resp.ApiKeys[0].MaxVersion != apiVersionsMax {
		t.Errorf("kmsg decodes %s", show(resp))
	}
}

func TestAnswersAPIVersions(t *testing.T) {
	for version := int16(-2); version < 9; version++ {
		want := version < 0 || version > apiVersionsMax
		if got := AnswersAPIVersions(18, version); got != want {
			t.Errorf("v%d: got %t, want %t", version, got, want)
		}
		if AnswersAPIVersions(3, version) || AnswersAPIVersions(10001, version) {
			t.Errorf("v%d: the proxy responds for another API", version)
		}
	}
}

// The versions of an API that the caller responds to itself take the place of the broker's.
func TestApiVersionsOfTheCaller(t *testing.T) {
	r := untouchable(t)
	r.Answered = func(key int16) (low, high int16, ok bool) { return 0, 1, key == 17 }
	for version := range int16(apiVersionsMax + 1) {
		payload := apiResponse(version, api{17, 1, 1}, api{36, 0, 2}, api{17, 0, 9}).AppendTo(nil)
		want := apiResponse(version, api{17, 0, 1}, api{36, 0, 2}, api{17, 0, 1}).AppendTo(nil)
		if out, _, err := r.Whole(18, version, payload); err != nil || !bytes.Equal(out, want) {
			t.Errorf("v%d: got % x, %v, want % x", version, out, err, want)
		}
	}
}
