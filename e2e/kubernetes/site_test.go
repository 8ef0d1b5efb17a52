//go:build e2e && linux

// Package kubernetes runs the chart of configs/helm/kproxy on a Kubernetes of its own: etcd, the API
// server, controllers, scheduler, kubelet, kube-proxy and containerd, with real pods and Services, in a
// network, mounts and processes of its own. The brokers are franz-go's fake ones, on the node, and for TestKafka
// real ones in pods. dnsmasq has the Services' names, in place of CoreDNS.
//
// It needs root, podman, runc, HAProxy and a JDK 17. make e2e-kubernetes builds Kubernetes once.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// inside is set in the process that has a network, mounts and processes of its own. It is the folder of
// the site.
const inside = "KPROXY_KUBERNETES_INSIDE"

// hold has the Kubernetes wait for an interrupt, in place of tests.
const hold = "E2E_HOLD"

// definitions are the files of the Gateway API for that process.
const definitions = "KPROXY_KUBERNETES_DEFINITIONS"

// node is the address of the only node. The kubelet refuses loopback.
const node = "10.99.0.1"

func TestMain(m *testing.M) { os.Exit(run(m)) } //nolint:forbidigo // this is main

func run(m *testing.M) int {
	dir := os.Getenv(inside)
	if dir == "" {
		return again()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := start(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if os.Getenv(hold) == "" {
		return m.Run()
	}
	fmt.Fprintf(os.Stdout, "export KUBECONFIG=%s PATH=%s:$PATH; alias helm=%s\n", site.kubeconfig, filepath.Join(site.kubernetes, "bin"), site.helm)
	for ctx.Err() == nil {
		if err := refreshNames(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
	return 0
}

// again runs the tests in another process. All processes end with it, because it is the first of
// their namespace. The mounts end with them, so the folder is removed here.
func again() int {
	dir, err := os.MkdirTemp("", "kproxy-kubernetes-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Nothing can be fetched in its network, so the brokers' jars and the definitions are fetched here.
	_, err = lab.NewRelease(context.Background(), lab.Newest)
	files, err2 := lab.ModuleFiles(context.Background(), lab.GatewayAPI, lab.GatewayFiles...)
	if err := errors.Join(err, err2); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"="+dir, definitions+"="+strings.Join(files, ":"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	if err == nil {
		if os.Getenv(hold) != "" {
			fmt.Fprintf(os.Stdout, "To enter, when it has started, and until it gets an interrupt:\nnsenter -t %d -n -m -p bash\n", cmd.Process.Pid)
		}
		err = cmd.Wait()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "a network, mounts and processes of its own (it needs root):", err)
		return 1
	}
	return 0
}

// site is the Kubernetes of all tests.
var site struct {
	dir, kubernetes, helm, kubeconfig string
}

// start makes the network and starts everything. It returns when the node is ready.
func start(ctx context.Context, dir string) error {
	site.dir, site.kubernetes, site.helm = dir, os.Getenv("E2E_KUBERNETES"), os.Getenv("E2E_HELM")
	site.kubeconfig = filepath.Join(dir, "kubeconfig")
	if site.kubernetes == "" || site.helm == "" {
		return errors.New("E2E_KUBERNETES and E2E_HELM are not set; run make e2e-kubernetes")
	}
	if err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("proc", "/proc", "proc", 0, ""),
		syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""), // containerd and CNI keep files there
	); err != nil {
		return fmt.Errorf("mounts of their own: %w", err)
	}
	if err := errors.Join(writeFiles(dir), shell(ctx, `
		ip link set lo up
		ip link add node0 type bridge; ip addr add `+node+`/24 dev node0; ip link set node0 up
		ip route add 10.96.0.0/16 dev node0 # Services; kube-proxy leads them to pods
		sysctl -qw net.ipv4.ip_forward=1
		openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
	`)); err != nil {
		return err
	}
	for _, s := range servers() {
		if err := s.start(ctx); err != nil {
			return err
		}
	}
	if err := images(ctx); err != nil {
		return err
	}
	if _, err := kubectl(ctx, "create", "namespace", "kafka"); err != nil {
		return err
	}
	// No pod may need more than the restricted standard allows.
	if _, err := kubectl(ctx, "label", "namespace", "kafka", "pod-security.kubernetes.io/enforce=restricted"); err != nil {
		return err
	}
	for file := range strings.SplitSeq(os.Getenv(definitions), ":") {
		if _, err := kubectl(ctx, "create", "-f", file); err != nil {
			return err
		}
	}
	return lab.Poll(ctx, time.Minute, func() error {
		out, err := kubectl(ctx, "get", "nodes")
		if err == nil && !strings.Contains(out, " Ready ") {
			err = errors.New("the node is not ready")
		}
		return err
	})
}

// shell runs commands in the folder of the site.
func shell(ctx context.Context, commands string) error {
	cmd := lab.Command(ctx, "/bin/bash", "-euc", commands)
	cmd.Dir = site.dir
	_, err := combined(cmd)
	return err
}

// kubectl runs kubectl in the namespace kafka.
func kubectl(ctx context.Context, args ...string) (string, error) {
	program := filepath.Join(site.kubernetes, "bin", "kubectl")
	return combined(lab.Command(ctx, program, append([]string{"--kubeconfig", site.kubeconfig, "-n", "kafka"}, args...)...))
}

// helm runs helm in the namespace kafka.
func helm(ctx context.Context, args ...string) (string, error) {
	return combined(lab.Command(ctx, site.helm, append([]string{"--kubeconfig", site.kubeconfig, "-n", "kafka"}, args...)...))
}

func combined(cmd *exec.Cmd) (string, error) {
	out, err := lab.Output(cmd)
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return out, err
}
