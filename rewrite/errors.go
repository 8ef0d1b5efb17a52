package rewrite

import "kproxy/internal/wire"

// The errors of a message that cannot be read, for errors.Is.
var (
	// ErrShort says that the message goes on behind the bytes that were given. The caller
	// reads more of it and tries again.
	ErrShort = wire.ErrShort
	// ErrMalformed says that the bytes are not such a message. No further bytes help.
	ErrMalformed = wire.ErrMalformed
)
