package tlsconf

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"
)

// Events has functions that are called when something happens to the files of a [Server] or a
// [Client], one after the other, by New…, Reload or [Watch]. A nil function is not
// called. A function must not call Reload.
type Events struct {
	// Reloaded says that files have changed, and are used from now on.
	Reloaded func()
	// Refused says why files that have changed are not used; the previous ones are. It is
	// called once for a change.
	Refused func(err error)
	// Expiring says that a certificate expires in 30 days, 7 days, 1 day, or has expired.
	// It is called once for each of the four; if several apply, for the last. left is
	// negative if it has expired.
	Expiring func(certificate Certificate, left time.Duration)
}

// Status describes the files that a [Server] or a [Client] uses.
type Status struct {
	Certificates []Certificate // in the order of the configuration
	// Refused says why the present files are not used. Nil: they are used.
	Refused error
}

// generation is the result of one look at the files. It does not change.
type generation struct {
	config       *tls.Config
	certificates []Certificate
	tickets      *tls.Config       // a Server's
	authorities  [sha256.Size]byte // the digest of its client authorities
}

// store keeps the result of the newest valid contents of some files.
//
// Files are compared by content, not watched. This finds Kubernetes' symlink swap, an
// editor's rename and a plain rewrite alike, on network file systems and single-file
// mounts too, where no event comes. They are few and small, and nothing depends on
// finding a change within the second.
type store struct {
	files  []string
	build  func(now contents, before *generation) (*generation, error)
	events Events

	current atomic.Pointer[generation]

	looking sync.Mutex        // one look at a time: it reads files, which may take long
	mu      sync.Mutex        // guards the following
	decided [sha256.Size]byte // the contents last used or refused
	seen    [sha256.Size]byte // the contents at the last look of Watch
	refused error             // why decided is not used
	warned  map[string]int    // the expiry warnings given, by certificate
}

// open reads the files for the first time.
func (s *store) open() error {
	now := readFiles(context.Background(), s.files)
	s.mu.Lock()
	defer s.mu.Unlock()
	first, err := s.build(now, nil)
	if err != nil {
		return err
	}
	s.decided, s.seen = now.digest, now.digest
	s.current.Store(first)
	s.warn(time.Now())
	return nil
}

// Reload reads the files now and uses them if they are valid, for the handshakes that
// start from then on. The error says why they are not used, as [Events] and [Status] do.
func (s *store) Reload() error {
	s.looking.Lock()
	defer s.looking.Unlock()
	now := readFiles(context.Background(), s.files)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decide(now)
	s.warn(time.Now())
	return s.refused
}

// Look is a turn of [Watch]. A change is not used before it has been the same at
// two looks: a file that is being written may be half there, and a bundle of
// authorities that lacks its second half still parses.
func (s *store) Look(ctx context.Context) {
	s.looking.Lock()
	defer s.looking.Unlock()
	now := readFiles(ctx, s.files)
	if ctx.Err() != nil {
		return // the error is the end of ctx
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.digest == s.seen {
		s.decide(now)
	}
	s.seen = now.digest
	s.warn(time.Now())
}

// decide uses or refuses contents that it has not decided on already. It is
// called with mu held.
func (s *store) decide(now contents) {
	if now.digest == s.decided {
		return
	}
	s.decided = now.digest
	next, err := s.build(now, s.current.Load())
	s.refused = err
	if err != nil {
		if s.events.Refused != nil {
			s.events.Refused(err)
		}
		return
	}
	s.current.Store(next)
	if s.events.Reloaded != nil {
		s.events.Reloaded()
	}
}

// Refused is Status.Refused.
func (s *store) Refused() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// Status describes the files in use at this moment.
func (s *store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{Certificates: s.current.Load().certificates, Refused: s.refused}
}

// Watched are files that are read again when they change: a [*Server], a [*Client], or others.
type Watched interface {
	Reload() error
	Look(ctx context.Context) // reads the files if they have changed
	Refused() error           // why the files are not used as they are now, but those from before; nil: they are used
}

// Watch looks at the files of all at intervals of every until ctx is done, and uses
// changed ones. Those of TLS are used at the second look after a change, if it has settled by
// then; their certificates that expire are reported, too. every must be
// positive; 5 s is a good one.
func Watch(ctx context.Context, every time.Duration, all ...Watched) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for _, one := range all {
				one.Look(ctx)
			}
		}
	}
}
