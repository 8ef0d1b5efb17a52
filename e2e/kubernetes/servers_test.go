//go:build e2e && linux

package kubernetes

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"kproxy/e2e/image"
	"kproxy/e2e/lab"
)

// server is a program of the Kubernetes.
type server struct {
	name  string
	args  []string
	ready func(ctx context.Context) error // nil: the next one can start at once
}

func (s *server) start(ctx context.Context) error {
	if _, err := s.process(ctx); err != nil || s.ready == nil {
		return err
	}
	return lab.Poll(ctx, 2*time.Minute, func() error { return s.ready(ctx) })
}

// process starts the program.
func (s *server) process(ctx context.Context) (*lab.Process, error) {
	program := filepath.Join(site.kubernetes, "bin", s.name)
	if _, err := os.Stat(program); err != nil {
		for _, dir := range []string{"usr/bin", "usr/sbin"} {
			if at := filepath.Join(site.kubernetes, "debian", dir, s.name); exists(at) {
				program = at
			}
		}
	}
	cmd := lab.Command(ctx, program, s.args...)
	cmd.Dir = site.dir
	// containerd finds its shim by PATH.
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(site.kubernetes, "debian/usr/bin")+":"+os.Getenv("PATH"))
	return lab.StartProcess(s.name, filepath.Join(site.dir, s.name+".log"), cmd)
}

func exists(file string) bool { _, err := os.Stat(file); return err == nil }

// servers are the programs, in their order.
func servers() []server {
	at := func(name string) string { return filepath.Join(site.dir, name) }
	config := "--kubeconfig=" + site.kubeconfig
	login := []string{config, "--authentication-kubeconfig=" + site.kubeconfig, "--authorization-kubeconfig=" + site.kubeconfig, "--bind-address=127.0.0.1", "--leader-elect=false"}
	return []server{
		{name: "etcd", args: []string{
			"--data-dir", at("etcd"), "--unsafe-no-fsync",
			"--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
			"--listen-peer-urls", "http://127.0.0.1:2380", "--initial-advertise-peer-urls", "http://127.0.0.1:2380", "--initial-cluster", "default=http://127.0.0.1:2380",
		}},
		{name: "kube-apiserver", args: []string{
			"--etcd-servers=http://127.0.0.1:2379", "--cert-dir=" + at("certs"), "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=6443",
			"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + at("sa.pub"), "--service-account-signing-key-file=" + at("sa.key"),
			"--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC", "--token-auth-file=" + at("tokens.csv"), "--allow-privileged=true",
			"--endpoint-reconciler-type=none", "--kubelet-preferred-address-types=InternalIP",
		}, ready: func(ctx context.Context) error {
			_, err := kubectl(ctx, "get", "--raw", "/readyz")
			return err
		}},
		{name: "kube-controller-manager", args: append(login, "--service-account-private-key-file="+at("sa.key"), "--root-ca-file="+at("certs/apiserver.crt"))},
		{name: "kube-scheduler", args: login},
		{name: "containerd", args: []string{"--config", at("containerd.toml")}, ready: func(context.Context) error {
			if !exists(at("containerd.sock")) {
				return errors.New("containerd has no socket")
			}
			return nil
		}},
		{name: "kubelet", args: []string{config, "--config=" + at("kubelet.yaml"), "--root-dir=" + at("kubelet"), "--cert-dir=" + at("kubelet/pki"), "--hostname-override=n1", "--node-ip=" + node}},
		{name: "kube-proxy", args: []string{
			config, "--proxy-mode=iptables", "--cluster-cidr=10.244.0.0/16", "--hostname-override=n1",
			"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s",
		}},
	}
}

// writeFiles writes the configurations.
func writeFiles(dir string) error {
	var errs []error
	for name, text := range map[string]string{
		"tokens.csv": "admintoken,admin,1,\"system:masters\"\n",
		"kubeconfig": `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: admintoken}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`,
		"cni/10-lab.conflist": `{"cniVersion": "0.4.0", "name": "lab", "plugins": [
 {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "` + dir + `/ipam"}},
 {"type": "portmap", "capabilities": {"portMappings": true}}]}
`,
		// restrict_oom_score_adj: root here may have no CAP_SYS_RESOURCE.
		"containerd.toml": `version = 2
root = "` + dir + `/containerd/root"
state = "` + dir + `/containerd/state"
[grpc]
  address = "` + dir + `/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "localhost/client:local"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "` + site.kubernetes + `/debian/usr/lib/cni"
    conf_dir = "` + dir + `/cni"
`,
		"kubelet.yaml": `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
cgroupsPerQOS: true
enforceNodeAllocatable: []
failSwapOn: false
failCgroupV1: false
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: unix://` + dir + `/containerd.sock
podLogsDir: ` + dir + `/podlogs
clusterDNS: [` + node + `]
clusterDomain: cluster.local
syncFrequency: 5s
evictionHard: {memory.available: "50Mi", nodefs.available: "1%", imagefs.available: "1%"}
`,
	} {
		file := filepath.Join(dir, name)
		errs = append(errs, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o600))
	}
	return errors.Join(errs...)
}

// images builds kproxy, the client and Kafka, and gives their images to containerd.
func images(ctx context.Context) error {
	dir := filepath.Join(site.dir, "images")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, pkg := range map[string]string{"kproxy": "kproxy/cmd/kproxy", "client": "kproxy/e2e/kubernetes/client"} {
		program := filepath.Join(dir, name)
		if err := image.Build(ctx, program, pkg); err != nil {
			return err
		}
		if err := imported(ctx, name, "/"+name, func(a *image.Archive) error { return a.File(program, name) }); err != nil {
			return err
		}
	}
	release, err := lab.NewRelease(ctx, lab.Newest)
	if err != nil {
		return err
	}
	kafka, err := image.NewKafka(ctx, dir)
	if err != nil {
		return err
	}
	return imported(ctx, "kafka", image.Entrypoint, func(a *image.Archive) error { return kafka.Fill(ctx, a, release) })
}

// imported makes an image of one layer with the tags local and next.
func imported(ctx context.Context, name, entrypoint string, fill func(*image.Archive) error) error {
	file := filepath.Join(site.dir, "images", name+".layer")
	layer, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := errors.Join(image.Layer(layer, fill), layer.Close()); err != nil {
		return err
	}
	return shell(ctx, `
		podman="podman --root $PWD/podman --runroot $PWD/podman-run --tmpdir $PWD/podman-tmp"
		ctr="`+site.kubernetes+`/debian/usr/bin/ctr -a $PWD/containerd.sock -n k8s.io images"
		$podman import -q --change 'ENTRYPOINT ["`+entrypoint+`"]' `+file+` localhost/`+name+`:local
		$podman save -q --format oci-archive -o `+file+`.oci localhost/`+name+`:local
		$ctr import --no-unpack `+file+`.oci
		$ctr tag localhost/`+name+`:local localhost/`+name+`:next
		rm `+file+`*
	`)
}
