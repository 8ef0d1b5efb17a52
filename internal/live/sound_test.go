package live

import (
	"slices"
	"testing"

	"kproxy/internal/kfakelab"
	"kproxy/proxy"
)

// A cluster and a kproxy without faults: each part has its ok.
func TestSound(t *testing.T) {
	t.Parallel()
	l := newLab(t, kfakelab.Start(t, 3, kfakelab.Real).At...)
	l.serve(t)
	r, faults := checked(t, l)
	var kinds []Kind
	for _, f := range r.Findings {
		kinds = append(kinds, f.Kind)
	}
	if want := []Kind{Responds, Responds, Responds, Responds, Fits, Served}; len(faults) > 0 || !slices.Equal(kinds, want) {
		t.Errorf("got %v, want %v\n%s", kinds, want, show(r))
	}
}

// A listener that no process serves yet is no fault.
func TestNotServed(t *testing.T) {
	t.Parallel()
	l := newLab(t, kfakelab.Start(t, 2, kfakelab.Real).At...)
	r, faults := checked(t, l)
	last := r.Findings[len(r.Findings)-1]
	if len(faults) > 0 || last.Level != Note || last.Kind != NotServed || last.Key != "clusters.c.listeners.l" {
		t.Errorf("got %v, %+v\n%s", faults, last, show(r))
	}
}

// Where kproxy is said to serve, a listener that is not reached is a fault.
func TestNotServedWhereItShould(t *testing.T) {
	t.Parallel()
	l := newLab(t, kfakelab.Start(t, 2, kfakelab.Real).At...)
	r, err := Check(t.Context(), &Options{Config: &proxy.Config{Config: l.conf}, Served: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Faults() != 1 || noted(r, Note, NotServed) != 0 {
		t.Errorf("got\n%s", show(r))
	}
}
