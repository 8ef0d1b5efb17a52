package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"kproxy/internal/files"
)

// book keeps the content of a users file. It checks the file at each login, and keeps the
// last valid version until there is another one.
type book struct {
	file   string
	failed func(error)

	looking chan struct{} // holds an element while a caller looks; only that caller uses the fields below
	seen    files.State
	decided [sha256.Size]byte // the content that was last taken or refused
	bad     error             // why it was refused; nil: it was taken
	told    string            // the last argument of failed; "": none since a valid version

	mu      sync.Mutex // guards the following
	known   *roster
	refused error // why the file as it is now is not used; nil: it is
}

// lookTime bounds how long a login waits for a look at the file. After that it uses the
// known users, so that a hanging file system locks no user out.
const lookTime = time.Second

// openBook reads the file for the first time.
func openBook(ctx context.Context, file string, failed func(error)) (*book, error) {
	b := &book{file: file, failed: failed, looking: make(chan struct{}, 1)}
	if err := b.look(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// now returns the users in the file.
func (b *book) now(ctx context.Context) *roster {
	looking, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	select {
	case b.looking <- struct{}{}:
		if err := b.look(looking); ctx.Err() == nil {
			b.tell(err)
		}
		<-b.looking
	case <-looking.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known
}

// look reads the file if it may have changed, and uses the content if it is valid. The
// error says why the present file is not used.
func (b *book) look(ctx context.Context) error {
	seen, err := files.Look(ctx, b.file)
	if err != nil {
		return err
	}
	if seen.Same(b.seen) {
		return b.bad
	}
	content, err := files.Read(ctx, b.file, maxUsersFile)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(content)
	b.seen = seen
	if digest == b.decided {
		return b.bad
	}
	users, err := parseRoster(content)
	b.decided, b.bad = digest, nil
	if err != nil {
		b.bad = fmt.Errorf("%s: %w", b.file, err)
		return b.bad
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known = users
	return nil
}

// refusal returns why the file is not used as it was at the last look; nil: it is.
func (b *book) refusal() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused
}

// tell notes the result of a look, and calls failed with an error, unless it has just been called with the same.
func (b *book) tell(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	b.mu.Lock()
	b.refused = err
	b.mu.Unlock()
	switch {
	case err == nil:
		b.told = ""
	case err.Error() == b.told:
	default:
		b.told = err.Error()
		b.failed(err)
	}
}
