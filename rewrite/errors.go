package rewrite

import "kproxy/internal/wire"

// The errors of a message that cannot be read, for errors.Is.
var (
	// ErrShort says that the message continues beyond the given bytes. The caller
	// reads more of it and tries again.
	ErrShort = wire.ErrShort
	// ErrMalformed says that the bytes are not such a message, whatever bytes follow.
	ErrMalformed = wire.ErrMalformed
)
