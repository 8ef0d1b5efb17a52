package awsauth

import (
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
)

// Credentials are renewed well before their end, and no login uses credentials that are
// about to expire, however short their lifetime is.
func TestAWSCredentialsAreRenewedInTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ life, renew, until time.Duration }{
		{12 * time.Hour, 9 * time.Hour, 12*time.Hour - time.Minute},
		{time.Hour, 45 * time.Minute, 59 * time.Minute},
		{15 * time.Minute, 10 * time.Minute, 14 * time.Minute},
		{4 * time.Minute, 2 * time.Minute, 3 * time.Minute},
		{40 * time.Second, 20 * time.Second, 30 * time.Second},
	} {
		renew, until := lifeOf(now, awssdk.Credentials{CanExpire: true, Expires: now.Add(tt.life)})
		if renew != now.Add(tt.renew) || until != now.Add(tt.until) {
			t.Errorf("%s: renewed after %s and used for %s, want %s and %s", tt.life, renew.Sub(now), until.Sub(now), tt.renew, tt.until)
		}
	}
	if renew, until := lifeOf(now, awssdk.Credentials{}); renew != now.Add(steady) || !until.IsZero() {
		t.Errorf("without an end: renewed at %s and used until %s", renew, until)
	}
}
