package history

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestModel wants no finding in random correct runs, and each planted fault to be found.
func TestModel(t *testing.T) {
	const runs = 40
	planted := map[Kind]int{}
	for seed := range uint64(runs) {
		property(t, seed, 120, planted)
	}
	for _, row := range kinds {
		if planted[row.kind] < runs/2 {
			t.Errorf("%v was planted in %d runs of %d, want half of them", row.kind, planted[row.kind], runs)
		}
	}
}

// FuzzModel is TestModel with other seeds and lengths.
func FuzzModel(f *testing.F) {
	f.Add(uint64(1), uint16(1))
	f.Add(uint64(2), uint16(500))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) {
		property(t, seed, int(steps%1000), map[Kind]int{})
	})
}

func property(t *testing.T, seed uint64, steps int, planted map[Kind]int) {
	t.Helper()
	h := newModel(seed).run(steps)
	if r := Check(h); len(r.Findings) > 0 {
		t.Fatalf("seed %d, %d steps: found in a correct run:\n%s", seed, steps, r)
	}
	for _, row := range kinds {
		h := newModel(seed).run(steps)
		if !plant(&h, row.kind, rand.New(rand.NewPCG(seed, 2))) {
			continue
		}
		planted[row.kind]++
		if r := Check(h); !r.Has(row.kind) {
			t.Fatalf("seed %d, %d steps: %v was planted, and not found:\n%s", seed, steps, row.kind, r)
		}
	}
}

// TestFile wants a file to have all of a history.
func TestFile(t *testing.T) {
	want := newModel(1).run(200)
	want.Dropped = 3
	var file bytes.Buffer
	if err := want.Write(&file); err != nil {
		t.Fatal(err)
	}
	text := file.String()
	got, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("the history that was read is not the one that was written")
	}
	lines := strings.SplitAfter(text, "\n")
	for _, tt := range []struct{ name, text, want string }{
		{"cut", strings.Join(lines[:20], ""), "no last line"},
		{"a line is missing", strings.Join(append([]string{}, lines[1:]...), ""), "the last line says"},
		{"no event", `{"type":"pol"}`, `line 1: no event type "pol"`},
		{"no JSON", "{", "line 1: "},
		{"no numbers", `{"type":"poll","offsets":[1],"sums":[1]}`, "line 1: 1 offsets, 0 numbers"},
		{"uneven", `{"type":"poll","offsets":[1]}`, "line 1: 1 offsets, 0 numbers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Read(strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error: got %v, want %q in it", err, tt.want)
			}
		})
	}
}

// FuzzRead wants any file to be refused, or to be read and checked.
func FuzzRead(f *testing.F) {
	var file bytes.Buffer
	if err := newModel(1).run(20).Write(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Fuzz(func(_ *testing.T, file []byte) {
		if h, err := Read(bytes.NewReader(file)); err == nil {
			_ = Check(h).String()
		}
	})
}

func TestValue(t *testing.T) {
	for _, size := range []int{0, 100, 100_000} {
		value := Value(42, size)
		if len(value) < size || len(value) > size+20 {
			t.Errorf("size: got %d, want about %d", len(value), size)
		}
		if got := NumberOf(value); got != 42 {
			t.Errorf("number: got %d, want 42", got)
		}
		for i := range min(len(value), 100) {
			damaged := bytes.Clone(value)
			damaged[i] ^= 1
			if got := NumberOf(damaged); got != NoNumber {
				t.Errorf("byte %d of %.30q is damaged: got number %d", i, value, got)
			}
		}
	}
	for _, other := range []string{"", "short", "00000000 12", strings.Repeat("x", 100)} {
		if got := NumberOf([]byte(other)); got != NoNumber {
			t.Errorf("number of %q: got %d, want none", other, got)
		}
	}
}

// TestRecorder wants a bound, and time order across clients.
func TestRecorder(t *testing.T) {
	r := NewRecorder(12)
	r.Add(Event{Client: "a"})
	r.AddAt(Event{Client: "b", At: -time.Second})
	if !r.Room() {
		t.Error("no room after two events of twelve")
	}
	for range 11 {
		r.Add(Event{Client: "a"})
	}
	h := r.History()
	if len(h.Events) != 12 || h.Dropped != 1 {
		t.Errorf("events %d, dropped %d; want 12 and 1", len(h.Events), h.Dropped)
	}
	if h.Events[0].Client != "b" {
		t.Errorf("first event: got %s's, want b's", h.Events[0].Client)
	}
	if r.Room() {
		t.Error("a full recorder has room")
	}
}
