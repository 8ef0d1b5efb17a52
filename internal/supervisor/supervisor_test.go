package supervisor

import (
	"slices"
	"strings"
	"testing"
)

func TestRecognise(t *testing.T) {
	type env = map[string]string
	for _, tt := range []struct {
		name string
		process
		env  env
		want string // of the problem; "": a new process can take over
	}{
		{"a shell", process{pid: 7, parent: 5, parentName: "bash"}, nil, ""},
		{"nohup", process{pid: 7, parent: 1, parentName: "systemd"}, nil, ""},
		{"process 1", process{pid: 1}, nil, "first process of a container"},
		{"podman's sdnotify", process{pid: 1}, env{notifySocket: "/run/notify"}, "first process of a container"},
		{"a shared process namespace", process{pid: 7, parent: 0}, nil, "first process of a container"},
		{"tini", process{pid: 7, parent: 1, parentName: "tini"}, nil, "process 1 is tini"},
		{"a shell as process 1", process{pid: 7, parent: 1, parentName: "sh"}, nil, "process 1 is sh"},
		{"podman with the host's processes", process{pid: 70, parent: 60, parentName: "conmon"}, nil, "conmon runs kproxy in a container"},
		{"containerd with the host's processes", process{pid: 70, parent: 60, parentName: "containerd-shim"}, nil, "containerd-shim runs kproxy in a container"},
		{"nohup on macOS", process{pid: 7, parent: 1}, nil, ""},
		{"a shell in a unit", process{pid: 7, parent: 6, parentName: "sh"}, env{invocation: "x", execPID: "6"}, "systemd runs kproxy"},
		{"OpenRC", process{pid: 7, parent: 5, parentName: "supervise-daemo"}, nil, "supervise-daemo runs kproxy"},
		{"behind tini's child", process{pid: 7, parent: 1, parentName: "tini", inherited: true}, nil, ""},
		{"Type=notify", process{pid: 7, parent: 1, parentName: "systemd"}, env{invocation: "x", execPID: "7", notifySocket: "/run/notify"}, ""},
		{"Type=simple", process{pid: 7, parent: 1, parentName: "systemd"}, env{invocation: "x", execPID: "7"}, "systemd runs kproxy"},
		{"an older systemd", process{pid: 7, parent: 1, parentName: "systemd"}, env{invocation: "x"}, "systemd runs kproxy"},
		{"a terminal of a desktop", process{pid: 7, parent: 5, parentName: "bash"}, env{invocation: "x", execPID: "3"}, ""},
		{"supervisord", process{pid: 7, parent: 5, parentName: "python3"}, env{"SUPERVISOR_ENABLED": "1"}, "supervisord runs kproxy"},
		{"runit", process{pid: 7, parent: 5, parentName: "runsv"}, nil, "runsv runs kproxy"},
		{"launchd", process{pid: 7, parent: 1}, env{"XPC_SERVICE_NAME": "com.example.kproxy"}, "launchd runs kproxy"},
		{"a terminal of macOS", process{pid: 7, parent: 5}, env{"XPC_SERVICE_NAME": "0"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.getenv = func(name string) string { return tt.env[name] }
			switch got := tt.recognise(); {
			case got == nil && tt.want != "", got != nil && (tt.want == "" || !strings.Contains(got.Problem, tt.want) || got.Fix == ""):
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestEnviron(t *testing.T) {
	base := []string{"PATH=/bin", "NOTIFY_SOCKET=/run/n", "LISTEN_PID=7", "LISTEN_FDS=2", "LISTEN_FDNAMES=a:b", "WATCHDOG_USEC=5"}
	for _, tt := range []struct {
		more string
		want []string
	}{
		{"WATCHDOG_PID=7", []string{"PATH=/bin", "NOTIFY_SOCKET=/run/n", "WATCHDOG_USEC=5"}},
		{"X=1", []string{"PATH=/bin", "NOTIFY_SOCKET=/run/n", "WATCHDOG_USEC=5", "X=1"}},
		{"WATCHDOG_PID=8", []string{"PATH=/bin", "NOTIFY_SOCKET=/run/n"}},
	} {
		if got := Environ(append(slices.Clone(base), tt.more), 7); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.more, got, tt.want)
		}
	}
}
