//go:build unix

package files

import (
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// NonBlock is the flag by which opening a named pipe does not wait for its other
// end.
const NonBlock = syscall.O_NONBLOCK

// stamp is what the system tells of a file, without when it was read.
type stamp unix.Stat_t

func stampOf(name string) (stamp, error) {
	var now unix.Stat_t
	for {
		err := unix.Stat(name, &now)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return stamp{}, &fs.PathError{Op: "stat", Path: name, Err: err}
		}
	}
	now.Atim = unix.Timespec{}
	return stamp(now), nil
}

// changed is when the file or what is told of it was last changed. Unlike the time
// of modification it cannot be set.
func (s stamp) changed() (at time.Time, ok bool) { return time.Unix(s.Ctim.Unix()), true }
