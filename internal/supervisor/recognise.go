package supervisor

import (
	"fmt"
	"slices"
	"strconv"
)

// The other ways to upgrade. docs/operations.md has each of them.
const (
	rollContainers = "start a new container and then stop this one: kubectl rollout restart, or another replica behind the same balancer (docs/operations.md)"
	setNotify      = "set Type=notify in the unit, as configs/systemd/kproxy.service has it, and restart kproxy once; or restart it under its socket unit (docs/operations.md)"
	useReusePort   = "let it start the new kproxy first, with reuse_port: true, or restart kproxy (docs/operations.md)"
)

// containerInits are the programs that are process 1 of a container and end with their child.
var containerInits = []string{"tini", "tini-static", "dumb-init", "catatonit", "docker-init", "podman-init", "s6-svscan", "init-stage2"}

// monitors are the programs that run a container's first process, and end the container with it. kproxy
// sees them where the container has the processes of the machine (--pid=host, hostPID).
var monitors = []string{"conmon", "containerd-shim"}

// supervisors are programs that start their child again when it ends, and know no successor of it.
var supervisors = []string{"supervise-daemo", "supervisord", "runsv", "s6-supervise", "supervise", "perpd", "circusd", "monit", "immortal", "god"}

// inits are programs that are process 1 of a machine: they adopt processes, and go on without them.
// A name has 15 bytes at most, and "" is one that is not known.
var inits = []string{"", "systemd", "init", "launchd", "openrc-init", "runit", "dinit", "procd"}

// recognise is Recognise. The first that holds is the reason:
//
//   - kproxy is process 1, or its parent is outside of its container (process 0): the container ends
//     with kproxy.
//   - Its parent is process 1, and not the init of a machine: a program that ends with its child, such as
//     one of containerInits, or a shell without exec.
//   - Its parent is one of monitors.
//   - systemd started it (INVOCATION_ID, and SYSTEMD_EXEC_PID where systemd is new enough to set it)
//     and waits for no notification (NOTIFY_SOCKET): it would take the end of kproxy for that of the
//     service. So it is if systemd started its parent, a shell without exec. A shell of a desktop session
//     has INVOCATION_ID too, with another SYSTEMD_EXEC_PID.
//   - launchd started it (XPC_SERVICE_NAME), or its parent is one of supervisors, or says that it is
//     supervisord (SUPERVISOR_ENABLED): they start kproxy again when it ends.
func (p *process) recognise() *RefusedError {
	switch {
	case p.pid == 1 || p.parent == 0:
		return &RefusedError{"kproxy is the first process of a container, which ends with it", rollContainers}
	case !p.inherited && p.parent == 1 && (slices.Contains(containerInits, p.parentName) || !p.isLaunched() && !slices.Contains(inits, p.parentName)):
		return &RefusedError{fmt.Sprintf("process 1 is %s, which ends the container with kproxy", p.parentName), rollContainers}
	case !p.inherited && slices.Contains(monitors, p.parentName):
		return &RefusedError{p.parentName + " runs kproxy in a container, which ends with it", rollContainers}
	case p.getenv(notifySocket) == "" && p.startedBySystemd():
		return &RefusedError{"systemd runs kproxy, and takes no notification from it: the end of this process would be that of the service", setNotify}
	case p.inherited:
		return nil
	case p.parent == 1 && p.isLaunched():
		return &RefusedError{"launchd runs kproxy, and starts it again when this process ends", useReusePort}
	case slices.Contains(supervisors, p.parentName):
		return &RefusedError{p.parentName + " runs kproxy, and starts it again when this process ends", useReusePort}
	case p.getenv("SUPERVISOR_ENABLED") == "1":
		return &RefusedError{"supervisord runs kproxy, and starts it again when this process ends", useReusePort}
	default:
		return nil
	}
}

// startedBySystemd reports whether systemd started this process itself.
func (p *process) startedBySystemd() bool {
	by := p.getenv(execPID)
	return p.getenv(invocation) != "" && (by == "" || by == strconv.Itoa(p.pid) || !p.inherited && by == strconv.Itoa(p.parent))
}

// isLaunched reports whether the variables say that launchd started this process.
func (p *process) isLaunched() bool {
	name := p.getenv("XPC_SERVICE_NAME")
	return name != "" && name != "0"
}
