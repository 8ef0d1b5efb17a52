package supervisor

import (
	"fmt"
	"os"
	"strings"
)

// nameOf returns the name of a process's program; "" if it is not known.
func nameOf(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) //nolint:forbidigo // procfs: a short regular file, at once
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}
