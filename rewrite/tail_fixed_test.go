package rewrite

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// hostLen is the length of the brokers' names in these tests.
const hostLen = 210

// tailResponses are the four APIs in their newest version: tails do not differ by
// version.
func tailResponses() []answer {
	var all []answer
	for _, w := range walked {
		all = append(all, answer{w.key, kmsg.ResponseForKey(w.key).MaxVersion()})
	}
	return all
}

// checkFixed rewrites the tail of resp at constant length, and compares the results of
// kmsg before and after.
func checkFixed(tb testing.TB, name string, r *Rewriter, resp kmsg.Response) Notes {
	tb.Helper()
	front, in := parts(resp)
	untouched := bytes.Clone(in)
	out, notes, err := r.Tail(resp.Key(), resp.GetVersion(), in, true)
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	if len(out) != len(in) {
		tb.Fatalf("%s: %d bytes, want the %d that came in", name, len(out), len(in))
	}
	if !bytes.Equal(in, untouched) {
		tb.Fatalf("%s: the input was changed", name)
	}
	if bytes.Contains(out, []byte("QQ")) {
		tb.Fatalf("%s: a part of a broker's name is left in % x", name, out)
	}
	got := decode(tb, resp.Key(), resp.GetVersion(), append(front, out...))
	checkPadding(tb, name, rawTags(tb, resp.Key(), out), rawTags(tb, resp.Key(), in))
	setTags(got, topTags(resp)...) // without the padding, which was just checked
	want := decode(tb, resp.Key(), resp.GetVersion(), append(front, in...))
	translate := r.Translate
	if notes.Neutralised {
		translate = dropAll
	}
	bodyEquals(tb, got, translated(want, translate))
	return notes
}

func dropAll(_ int16, brokers Brokers) {
	for i := range brokers.List {
		brokers.List[i].Drop = true
	}
}

// checkPadding compares a tail's tags before and after: apart from hints, they are the
// same, except one of zeros.
func checkPadding(tb testing.TB, name string, after, before []tag) {
	tb.Helper()
	ascend := func(a, b tag) int { return int(int64(a.number) - int64(b.number)) }
	if slices.IsSortedFunc(before, ascend) && !slices.IsSortedFunc(after, ascend) {
		tb.Fatalf("%s: tags do not ascend: %v", name, after)
	}
	left := slices.Clone(after)
	for _, b := range before {
		i := slices.IndexFunc(left, func(a tag) bool { return a.number == b.number })
		switch {
		case i >= 0 && (bytes.Equal(left[i].value, b.value) || b.number == tagNodeEndpoints):
			left = slices.Delete(left, i, i+1)
		case i >= 0 || b.number != tagNodeEndpoints:
			tb.Fatalf("%s: tag %d is changed or gone", name, b.number)
		}
	}
	if len(left) > 1 || len(left) == 1 && (left[0].number < firstPadTag || len(bytes.Trim(left[0].value, "\x00")) > 0) {
		tb.Fatalf("%s: tags %v are new, want one of zeros at most", name, left)
	}
}

// A frame whose size has been sent keeps it, whatever the new names' lengths.
// Names no longer than the brokers' always fit.
func TestTailOfFixedLength(t *testing.T) {
	for _, a := range tailResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			for _, tags := range tailTags {
				for _, brokers := range []int{1, 3} {
					resp := hinted(key, version, brokers, hostLen, tags.tags...)
					for host := 1; host <= 2*hostLen; host++ {
						name := fmt.Sprintf("%s, %d brokers of %d bytes advertised in %d", tags.name, brokers, hostLen, host)
						notes := checkFixed(t, name, telling(strings.Repeat("h", host)), resp)
						if longer := host > hostLen; notes.Neutralised != longer && !padNeedsThree(tags.tags, brokers*(hostLen-host)) {
							t.Fatalf("%s: neutralised %t, want %t", name, notes.Neutralised, longer)
						}
					}
				}
			}
		})
	}
}

// padNeedsThree reports whether n is the one length that a tag whose number takes two
// bytes cannot fill.
func padNeedsThree(tags []tag, left int) bool {
	return left == 2 && slices.ContainsFunc(tags, func(t tag) bool { return t.number == firstPadTag }) &&
		slices.ContainsFunc(tags, func(t tag) bool { return t.number == firstPadTag+1 })
}

func TestTailOfFixedLengthEveryVersion(t *testing.T) {
	for _, a := range walkedResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			for _, tags := range tailTags {
				for _, host := range []int{2, hostLen - 2, hostLen - 1, hostLen, hostLen + 1} {
					checkFixed(t, fmt.Sprintf("%s, host of %d", tags.name, host), telling(strings.Repeat("h", host)),
						hinted(key, version, 2, hostLen, tags.tags...))
				}
			}
		})
	}
}

// The bytes of a dropped broker may hold longer names of the others.
func TestTailOfFixedLengthDrops(t *testing.T) {
	for _, a := range tailResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			for _, tags := range tailTags {
				for _, drop := range [][]int32{{0}, {1}, {2}, {0, 2}, {0, 1, 2}} {
					for host := 1; host <= 3*hostLen; host += 7 {
						resp := hinted(key, version, 3, hostLen, tags.tags...)
						name := fmt.Sprintf("%s, without %v, host of %d", tags.name, drop, host)
						notes := checkFixed(t, name, telling(strings.Repeat("h", host), drop...), resp)
						if notes.Named != 3 || notes.Dropped != len(drop) {
							t.Fatalf("%s: notes %+v", name, notes)
						}
						kept := 3 - len(drop)
						if fits := kept*host <= 3*hostLen; fits && notes.Neutralised {
							t.Fatalf("%s: neutralised, although %d names fit", name, kept)
						}
					}
				}
			}
		})
	}
}

// The names differ in length among each other, as ids do: one may grow as long
// as another shrinks.
func TestTailOfFixedLengthMixed(t *testing.T) {
	for _, a := range tailResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			for first := 1; first < 2*hostLen; first += 13 {
				for second := 1; second < 2*hostLen; second += 17 {
					r := &Rewriter{Translate: func(_ int16, brokers Brokers) {
						brokers.List[0].Host, brokers.List[1].Host = strings.Repeat("1", first), strings.Repeat("2", second)
					}}
					notes := checkFixed(t, fmt.Sprintf("hosts of %d and %d", first, second), r, hinted(key, version, 2, hostLen))
					if !notes.Neutralised && first+second > 2*hostLen+4 {
						t.Fatalf("hosts of %d and %d: not neutralised", first, second)
					}
					if notes.Neutralised && first+second <= 2*hostLen-2 {
						t.Fatalf("hosts of %d and %d: neutralised, although they fit", first, second)
					}
				}
			}
		})
	}
}

// With the 128th tag the count of tags takes another byte.
func TestTailOfFixedLengthManyTags(t *testing.T) {
	for _, a := range tailResponses() {
		t.Run(a.String(), func(t *testing.T) {
			key, version := a.key, a.version
			for _, first := range []uint32{1, 1000} {
				for n := 120; n <= 132; n++ {
					var tags []tag
					for i := range n {
						tags = append(tags, tag{first + uint32(i), nil})
					}
					resp := hinted(key, version, 1, hostLen, tags...)
					for _, left := range []int{-7, -1, 0, 1, 2, 3, 4, 5, 6, 126, 127, 128, 129, 130, 131, 132, 209} {
						host := hostLen - left
						name := fmt.Sprintf("%d tags from %d, host of %d", n, first, host)
						notes := checkFixed(t, name, telling(strings.Repeat("h", host)), resp)
						// A pad of two or three bytes may not do there.
						if notes.Neutralised != (left < 0) && left != 2 && left != 3 {
							t.Fatalf("%s: neutralised %t", name, notes.Neutralised)
						}
					}
				}
			}
		})
	}
}

// Tags that the broker does not write in order go as they came; hints come
// first.
func TestTailOfFixedLengthUnordered(t *testing.T) {
	value := "\x02\x00\x00\x00\x07\x05QQQQ\x00\x00\x23\x84\x00\x00"
	in := []byte("\x03" + "\x09\x01x" + "\x00\x10" + value + "\x05\x00")
	for host, want := range map[string]string{
		"1234":  "\x03" + "\x00\x10\x02\x00\x00\x00\x07\x051234\x00\x00\x75\x37\x00\x00" + "\x09\x01x" + "\x05\x00",
		"123":   "\x83\x00" + "\x00\x0f\x02\x00\x00\x00\x07\x04123\x00\x00\x75\x37\x00\x00" + "\x09\x01x" + "\x05\x00",
		"12":    "\x04" + "\x00\x0e\x02\x00\x00\x00\x07\x0312\x00\x00\x75\x37\x00\x00" + "\x09\x01x" + "\x05\x00" + "\x7e\x00",
		"12345": "\x03" + "\x09\x01x" + "\x05\x00" + "\x7e\x10" + strings.Repeat("\x00", 16),
	} {
		out, notes, err := telling(host).Tail(1, 16, in, true)
		if err != nil || string(out) != want || notes.Neutralised != (host == "12345") {
			t.Errorf("host %s: got %q, %+v, %v, want %q", host, out, notes, err, want)
		}
	}
}

// Numbers that a broker wrote in more bytes than needed leave room for longer names.
func TestTailOfFixedLengthWideNumbers(t *testing.T) {
	const room = 3 + 4 // in the value, and around it; the rack and the broker's tags stay as they are
	value := "\x82\x00\x00\x00\x00\x07\x83\x80\x00QQ\x00\x00\x23\x84\x80\x00\x80\x00"
	in := []byte("\x81\x80\x00" + "\x80\x00\x93\x00" + value)
	in[5] = byte(len(value)) | 0x80
	for n := 1; n <= 20; n++ {
		host := strings.Repeat("h", n)
		out, notes, err := telling(host).Tail(0, 10, in, true)
		if err != nil || len(out) != len(in) || notes.Neutralised != (n > len("QQ")+room) {
			t.Errorf("host of %d: %d bytes for %d, %+v, %v", n, len(out), len(in), notes, err)
		}
		if bytes.Contains(out, []byte("QQ")) {
			t.Errorf("host of %d: the broker's name is left in %q", n, out)
		}
		decode(t, 0, 10, append([]byte("\x00\x01\x00\x00\x00\x00"), out...))
	}
}
