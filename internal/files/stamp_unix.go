//go:build unix

package files

import (
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// NonBlock is the flag for opening a named pipe without waiting for its other end.
const NonBlock = syscall.O_NONBLOCK

// stamp is the system's information about a file, without the time of access.
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

// changed is the time of the last change of the file or its metadata. Unlike the time
// of modification it cannot be set.
func (s stamp) changed() (at time.Time, ok bool) { return time.Unix(s.Ctim.Unix()), true }
