// Package relay moves bytes from one connection to another.
//
// [Stream] moves one direction of a session. It copies through a small buffer, or has the
// kernel move bytes from socket to socket through a pipe (splice). [PipePool] has these
// kernel pipes, which all sessions share. [SideError] says which of the two connections
// failed. A session gives its stream a [Keeper] to count the bytes that the stream holds.
//
//	            ┌─ peeked: 512 bytes that stay in the socket ─┐
//	src ══▶ socket ═══════════ splice ══▶ kernel pipe ══ splice ══▶ socket ══▶ dst
//	            │                            └── bytes that dst does not take
//	            └── small frames, tails ──▶ buffer ◀┘ ══ write ══▶
//
// The package knows no frame: its user peeks, decides, and passes, drops or writes. On
// systems other than Linux, and over anything but plain TCP, everything is copied.
package relay
