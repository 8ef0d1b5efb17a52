package speaks

import (
	"testing"

	"kproxy/internal/racelab"
)

func TestMain(m *testing.M) {
	racelab.WaitTogether()
	m.Run()
}
