//go:build !unix

package files

import (
	"os"
	"time"
)

// NonBlock is the flag for opening a named pipe without waiting for its other end; here
// there is none.
const NonBlock = 0

// stamp is the system's information about a file.
type stamp struct {
	size     int64
	modified time.Time
}

func stampOf(name string) (stamp, error) {
	info, err := os.Stat(name)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.Size(), info.ModTime()}, nil
}

// changed reports false: the time of modification can be set.
func (s stamp) changed() (at time.Time, ok bool) { return time.Time{}, false }
