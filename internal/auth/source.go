package auth

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
)

// Source provides kproxy's credentials. It may be used by several goroutines at once.
type Source interface {
	// Get returns the credentials of one login. It may take as long as ctx allows.
	Get(ctx context.Context) (Credentials, error)
	// Close ends the work in the background, and waits for it.
	Close()
}

// Credentials are the secrets of one login.
type Credentials struct {
	Mechanism sasl.Mechanism
	Secrets   []string // which no error may repeat
	Refused   func()   // is called if the broker refuses them; may be nil
}

// ErrNoAWS says that a program has no [AWSSource].
var ErrNoAWS = errors.New("this program does not link " + AWSMSKIAM)

// Lasting are credentials that logins may use for a while. Refused is not set.
type Lasting struct {
	Credentials
	Renew time.Time // when others are fetched in the background; not before the first use
	Until time.Time // when no login begins with them any more; zero: never
}

// NewRenewing returns a Source that gives logins the credentials of one fetch, and fetches
// others before these end, or after a broker has refused them. timeout bounds a fetch.
// missing is the error of a login that has waited for a fetch in vain.
func NewRenewing(missing string, timeout time.Duration, fetch func(ctx context.Context) (*Lasting, error)) Source {
	return renewing{newKeeper(missing, timeout, func(ctx context.Context) (*good[Credentials], error) {
		l, err := fetch(ctx)
		if err != nil {
			return nil, err
		}
		return &good[Credentials]{value: l.Credentials, renew: l.Renew, until: l.Until}, nil
	})}
}

type renewing struct{ kept *keeper[Credentials] }

func (r renewing) Get(ctx context.Context) (Credentials, error) {
	held, err := r.kept.get(ctx)
	if err != nil {
		return Credentials{}, err
	}
	c := held.value
	c.Refused = func() { r.kept.forget(held) }
	return c, nil
}

func (r renewing) Close() { r.kept.close() }
