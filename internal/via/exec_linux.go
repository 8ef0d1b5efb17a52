package via

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// awaitExit waits until p has ended, and leaves it to be reaped: its id, and that of
// its group, stay its own. An error other than an interruption means that it has
// been reaped.
func awaitExit(p *os.Process, _ <-chan struct{}) {
	for {
		err := unix.Waitid(unix.P_PID, p.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
