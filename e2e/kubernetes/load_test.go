//go:build e2e && linux

package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
	"kproxy/internal/certlab"
)

const (
	// publicName is the name that clients bootstrap from. dnsmasq leads it, and the names below it, to
	// balancer.
	publicName = "kafka.example.com"
	// balancer is the address of the load balancer: kube-proxy leads it to the pods.
	balancer = "10.99.0.100"
	// patience bounds the time that a record takes while pods come and go: a few seconds, and more on a busy
	// machine.
	patience = 30 * time.Second
)

// phaseKill is the only phase in which records may fail. The kernel ends the connections of a killed process.
// franz-go takes the end of a connection without a first response for a mistake in the TLS configuration, and
// fails the record.
const phaseKill = "SIGKILL of one kproxy of 3"

// loadValues are the values of the release under load.
type loadValues struct {
	tag      string
	replicas int
	listener string // more keys
}

func (v loadValues) String() string {
	return strings.NewReplacer("tag: local", "tag: "+v.tag, "cpu: 50m", "cpu: 200m").Replace(common) + fmt.Sprintf(`
replicas: %d
exposure: {mode: loadBalancer}
clusters:
  orders:
    bootstrap: ["%s:19092"]
    certificate: {secret: kafka-example-com}
    listener: {advertise: "%s:443"%s}
`, v.replicas, node, publicName, v.listener)
}

// The chart's mode loadBalancer, with 500 TLS clients that send and read while pods are replaced, killed,
// evicted and scaled. No record is lost, and no client waits for long.
func TestLoad(t *testing.T) {
	brokers(t)
	ca := certlab.NewAuthority(t, "ca")
	certificate(t, ca)
	v := loadValues{tag: "local", replicas: 3}
	balanced(t, "load", v.String())
	c := startCrowd(t, &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12})
	c.during(t, "500 clients connect", func() error { return nil })
	c.during(t, "nothing happens", func() error { return c.flows(t.Context(), 10) })
	rollout := c.during(t, "helm upgrade of the image, 3 pods", func() error {
		v.tag = "next"
		return replaced(t, "load", func() error { release(t, "load", v.String()); return nil })
	})
	if rollout.most > rollout.handshakes/2 {
		t.Errorf("%d of %d handshakes in a second: the pods were replaced at one time", rollout.most, rollout.handshakes)
	}
	c.during(t, "another certificate in the Secret", func() error { return renewed(t, ca) })
	c.during(t, "helm upgrade of the listener", func() error {
		v.listener = ", limits: {max_connections: 9000}"
		release(t, "load", v.String())
		return generation(t, "load", 2)
	})
	c.during(t, phaseKill, func() error { return killed(t) })
	c.during(t, "3 pods evicted under the PodDisruptionBudget", func() error { return replaced(t, "load", func() error { return evicted(t) }) })
	for _, n := range []int{2, 5, 2} {
		c.during(t, fmt.Sprintf("scaled to %d pods", n), func() error {
			v.replicas = n
			release(t, "load", v.String())
			return settled(t, n)
		})
	}
	c.check(t)
}

// balanced installs a release, until the end of the test, and gives its Service the address of the load balancer.
func balanced(t *testing.T, name, values string) {
	t.Helper()
	release(t, name, values)
	t.Cleanup(func() { uninstall(t, name) })
	status := `{"status": {"loadBalancer": {"ingress": [{"ip": "` + balancer + `"}]}}}`
	if _, err := kubectl(t.Context(), "patch", "service", name+"-kproxy", "--subresource=status", "--type=merge", "-p", status); err != nil {
		t.Fatal(err)
	}
}

func uninstall(t *testing.T, name string) {
	t.Helper()
	if _, err := helm(context.WithoutCancel(t.Context()), "uninstall", name); err != nil {
		t.Error(err)
	}
}

// certificate makes the Secret with a certificate, or puts another one there. It returns the certificate.
func certificate(t *testing.T, ca *certlab.Authority) []byte {
	t.Helper()
	id := ca.Issue(t, nil, publicName, "*."+publicName)
	secrets(t, "kafka-example-com", "kubernetes.io/tls", map[string][]byte{"tls.crt": id.CertPEM, "tls.key": id.KeyPEM})
	return id.Pair.Leaf.Raw
}

// renewed replaces the certificate, and waits until each pod has it. No pod is replaced.
func renewed(t *testing.T, ca *certlab.Authority) error {
	t.Helper()
	before := pods(t, "load")
	want := certificate(t, ca)
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: ca.Pool(), ServerName: publicName, MinVersion: tls.VersionTLS12}}
	for _, pod := range before {
		_, ip, _ := strings.Cut(pod, " ")
		if err := lab.Poll(t.Context(), 3*time.Minute, func() error {
			conn, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort(ip, "9093"))
			if err != nil {
				return err
			}
			defer conn.Close()
			if got := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw; !bytes.Equal(got, want) {
				return errors.New(pod + " has the certificate of before")
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if after := pods(t, "load"); strings.Join(before, ",") != strings.Join(after, ",") {
		return fmt.Errorf("the pods were %q, and are %q", before, after)
	}
	return nil
}

// replaced acts, and waits until all pods of a release of before have ended, and others are available.
func replaced(t *testing.T, name string, act func() error) error {
	t.Helper()
	before := pods(t, name)
	if err := act(); err != nil {
		return err
	}
	for _, pod := range before {
		pod, _, _ := strings.Cut(pod, " ")
		if _, err := kubectl(t.Context(), "wait", "--for=delete", "pod/"+pod, "--timeout=90s"); err != nil {
			return err
		}
	}
	_, err := kubectl(t.Context(), "rollout", "status", "deployment/"+name+"-kproxy", "--timeout=90s")
	return err
}

// killed kills one kproxy. The kubelet starts it again.
func killed(t *testing.T) error {
	t.Helper()
	name, _, _ := strings.Cut(pods(t, "load")[0], " ")
	status := func(path string) (string, error) {
		return kubectl(t.Context(), "get", "pod", name, "-o", "jsonpath={.status.containerStatuses[0]."+path+"}")
	}
	id, err := status("containerID")
	if err != nil {
		return err
	}
	_, id, _ = strings.Cut(id, "://")
	if err := shell(t.Context(), site.kubernetes+"/debian/usr/bin/ctr -a $PWD/containerd.sock -n k8s.io tasks kill -s SIGKILL "+id); err != nil {
		return err
	}
	return lab.Poll(t.Context(), time.Minute, func() error {
		restarts, err := status("restartCount")
		ready, err2 := status("ready")
		if err = errors.Join(err, err2); err == nil && (restarts != "1" || ready != "true") {
			err = fmt.Errorf("%s restarts, ready: %s", restarts, ready)
		}
		return err
	})
}

// evicted evicts all pods, as kubectl drain does: it asks for each again until that is allowed. The
// PodDisruptionBudget refuses a second one while the first has no successor.
func evicted(t *testing.T) error {
	t.Helper()
	refused := 0
	for _, pod := range pods(t, "load") {
		name, _, _ := strings.Cut(pod, " ")
		body := `{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "` + name + `", "namespace": "kafka"}}`
		if err := lab.Poll(t.Context(), time.Minute, func() error {
			status, err := post(t.Context(), "/api/v1/namespaces/kafka/pods/"+name+"/eviction", body)
			if status == http.StatusTooManyRequests {
				refused++
				return errors.New("the eviction of " + name + " is refused")
			}
			if err == nil && status != http.StatusCreated {
				err = lab.Permanent(fmt.Errorf("the eviction of %s: status %d", name, status))
			}
			return err
		}); err != nil {
			return err
		}
	}
	if refused == 0 {
		return errors.New("all evictions were allowed at once")
	}
	return nil
}

// post sends a request to the API server.
func post(ctx context.Context, path, body string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://127.0.0.1:6443"+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer admintoken")
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}

// settled waits until there are n pods, the ending ones included.
func settled(t *testing.T, n int) error {
	t.Helper()
	return lab.Poll(t.Context(), 90*time.Second, func() error {
		if got := pods(t, "load"); len(got) != n {
			return fmt.Errorf("the pods are %q, want %d", got, n)
		}
		return nil
	})
}
