package proxy

import (
	"testing"
	"time"

	"kproxy/internal/mark"
	"kproxy/proxy/config"
)

func TestExpiry(t *testing.T) {
	now := time.Now()
	if got := expiry(&config.Config{MaxAgeJitter: 0.5}, now); got != mark.Never {
		t.Errorf("without max_age: got %v", got)
	}
	c := &config.Config{MaxAge: time.Hour, MaxAgeJitter: 0.1}
	seen := map[mark.Mark]bool{}
	for range 1000 {
		got := expiry(c, now)
		if age := -got.Age(now); age < 54*time.Minute || age > time.Hour {
			t.Fatalf("a session may grow %v old", age)
		}
		seen[got] = true
	}
	if len(seen) < 900 {
		t.Errorf("1000 sessions end at %d moments", len(seen))
	}
}
