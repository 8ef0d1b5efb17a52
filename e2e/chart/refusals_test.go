//go:build e2e && linux

package chart

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// Values that would not work are refused, with the key and the reason. Most of them are mistakes for
// kproxy check too; pods would run on with the configuration of before, and fail when they start.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string // of the values file
		set  string
		want string
	}{
		{"cluster-ip", "clusters=null", "clusters is empty"},
		{"cluster-ip", "exposure.mode=route", "/exposure/mode"},
		{"cluster-ip", "clusters.orders.conect_timeout=3s", "conect_timeout"},
		{"cluster-ip", "clusters.orders.listener.nodes.port=9100-9109", "port"},
		{"cluster-ip", "limits.max_age=1 hour", "/limits/max_age"},
		{"cluster-ip", "clusters.audit.bootstrap={audit:9092}", "with several clusters, each needs ports of its own"},
		{"cluster-ip", "clusters.orders.certificate.secret=a,clusters.orders.certificate.issuerRef.name=b", "/clusters/orders/certificate"},
		{"cluster-ip", "autoscaling.enabled=true", "autoscaling.enabled needs limits.max_age"},
		{"cluster-ip", "autoscaling.enabled=true,limits.max_age=0s", "autoscaling.enabled needs limits.max_age"},
		{"cluster-ip", "podDisruptionBudget.maxUnavailable=0", "/podDisruptionBudget/maxUnavailable"},
		{"cluster-ip", "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true", "would scrape each pod twice"},
		{"load-balancer", "clusters.audit.bootstrap={a:9092},clusters.audit.listener.advertise=a.example.com:443", "clusters.audit.certificate is missing"},
		{"load-balancer", "clusters.audit.bootstrap={a:9092}", "clusters.audit.listener.advertise is missing"},
		{"load-balancer-gcp", "clusters.orders.listener.proxy_protocol.from={10.0.0.0/8}", "sends no such header"},
		{"gateway", "exposure.gateway.parentRefs=null", "name the Gateway in parentRefs"},

		// Addresses.
		{"cluster-ip", "clusters.orders.bootstrap=[]", "clusters.orders.bootstrap is empty"},
		{"cluster-ip", "clusters.orders.bootstrap={b0:9092,b1}", `clusters.orders.bootstrap[1]: "b1" has no port; write host:port, such as b1:9092`},
		{"cluster-ip", "clusters.orders.bootstrap={b0:kafka}", `clusters.orders.bootstrap[0]: "b0:kafka" has no port`},
		{"cluster-ip", "clusters.orders.bootstrap={b0:0}", "clusters.orders.bootstrap[0]"},
		{"cluster-ip", "clusters.orders.bootstrap={b0:65536}", `clusters.orders.bootstrap[0]: "b0:65536" has the port 65536; write one of 1-65535`},
		{"cluster-ip", "clusters.orders.bootstrap={:9092}", `clusters.orders.bootstrap[0]: ":9092" names no host`},
		{"cluster-ip", "clusters.orders.bootstrap={kafka://b0:9092}", "clusters.orders.bootstrap[0]"},
		{"cluster-ip", "clusters.orders.bootstrap={10.0.0.256:9092}", "clusters.orders.bootstrap[0]"},
		{"cluster-ip", `clusters.orders.bootstrap={b0:9092\,b1:9092}`, "clusters.orders.bootstrap[0]"},
		{"load-balancer", "clusters.orders.listener.advertise=kafka.example.com", `clusters.orders.listener.advertise: "kafka.example.com" has no port`},
		{"load-balancer", "clusters.orders.listener.advertise=:443", "clusters.orders.listener.advertise"},
		{"load-balancer", "clusters.orders.listener.advertise=10.0.0.7:443", "clusters.orders.listener.advertise: clients ask for no name"},
		{"cluster-ip", "clusters.orders.listener.bind=9092", "/clusters/orders/listener/bind"},
		{"cluster-ip", "clusters.orders.listener.bind=kproxy", "clusters.orders.listener.bind"},
		{"cluster-ip", "clusters.orders.listener.bind=127.0.0.1:9092", "clusters.orders.listener.bind: 127.0.0.1:9092 is a loopback address of the pod"},
		{"cluster-ip", "admin.bind=127.0.0.1:9400", "admin.bind: 127.0.0.1:9400 is a loopback address of the pod, which the kubelet's probes do not reach; write :9400"},
		{"sidecar", "admin.bind=localhost:9400", "admin.bind: localhost:9400 is a loopback address"},
		{"cluster-ip", "admin.bind=[::1]:9400", "admin.bind: [::1]:9400 is a loopback address"},
		{"cluster-ip", "admin.bind=9400", "admin"},

		// Ranges of ports.
		{"cluster-ip", "clusters.orders.listener.nodes.ports=9119-9100", "clusters.orders.listener.nodes.ports: 9119-9100 runs backwards; write 9100-9119"},
		{"cluster-ip", "clusters.orders.listener.nodes.ports=0-9", "clusters.orders.listener.nodes.ports: 0-9 is not within 1-65535"},
		{"cluster-ip", "clusters.orders.listener.nodes.ports=65530-65539", "clusters.orders.listener.nodes.ports"},
		{"cluster-ip", "clusters.orders.listener.nodes.ports=9090-9099", "clusters.orders.listener.nodes.ports: 9090-9099 covers port 9092, where clients bootstrap (clusters.orders.listener.advertise)"},
		{"load-balancer-ports", "clusters.orders.listener.nodes.ports=9090-9099", "clusters.orders.listener.nodes.ports"},
		{"cluster-ip", "clusters.orders.listener.nodes.ports=9390-9409", "clusters.orders.listener.nodes.ports: port 9400 is bound already by admin.bind"},
		{"cluster-ip", "admin.bind=:9092", "clusters.orders.listener.bind: port 9092 is bound already by admin.bind"},
		{"cluster-ip", "admin.bind=0.0.0.0:9105", "clusters.orders.listener.nodes.ports: port 9105 is bound already by admin.bind"},
		{"cluster-ip-tls", "clusters.audit.listener.nodes.ports=9105-9114", "clusters.orders.listener.nodes.ports: port 9105 is bound already by clusters.audit.listener.nodes.ports"},
		{"cluster-ip-tls", "clusters.audit.listener.bind=:9092", "clusters.orders.listener.bind: port 9092 is bound already by clusters.audit.listener.bind"},
		{"cluster-ip", "clusters.orders.listener.nodes.ports=9100-9119,clusters.orders.listener.nodes.advertise_ports=31100-31109", "clusters.orders.listener.nodes.advertise_ports: 31100-31109 (10) and nodes.ports 9100-9119 (20) differ in length"},
		{"sidecar", "clusters.orders.listener.nodes.advertise_ports=31100", "clusters.orders.listener.nodes.advertise_ports: nothing maps ports in a pod"},
		{"load-balancer-ports", "clusters.orders.listener.nodes.advertise_ports=9100-9104", "clusters.orders.listener.nodes.advertise_ports"},
		{"load-balancer-ports", "clusters.orders.listener.nodes.advertise_ports=9085-9094", "clusters.orders.listener.nodes.advertise_ports: 9085-9094 covers port 9092"},
		{"cluster-ip-tls", "clusters.orders.listener.nodes.pin.1001=9110", "clusters.orders.listener.nodes.pin: node 1001 is pinned to 9110"},
		{"cluster-ip-tls", "clusters.orders.listener.nodes.pin.1002=9109", "clusters.orders.listener.nodes.pin: nodes 1001 and 1002 are both pinned to 9109"},

		// Ports of the nodes of Kubernetes.
		{"node-ports", "clusters.orders.listener.nodes.advertise_ports=29990-29999", "clusters.orders.listener.nodes.advertise_ports: 29990-29999 is not within 30000-32767"},
		{"node-ports", "clusters.orders.listener.nodes.advertise_ports=32760-32769", "clusters.orders.listener.nodes.advertise_ports: 32760-32769 is not within 30000-32767"},
		{"node-ports", "clusters.orders.listener.advertise=nodes.example.com:9092", "clusters.orders.listener.advertise: port 9092 is not within 30000-32767"},
		{"node-ports", "clusters.orders.listener.advertise=nodes.example.com:31105", "clusters.orders.listener.nodes.advertise_ports: 31100-31109 covers port 31105"},
		{"node-ports", `clusters.orders.listener={"advertise": "nodes.example.com:31092"}`, "clusters.orders.listener.nodes.advertise_ports is missing"},
		{"node-ports", "clusters.orders.listener={}", "clusters.orders.listener.advertise is missing"},
		{"load-balancer", "exposure.loadBalancer.nodePort=443", "exposure.loadBalancer.nodePort: port 443 is not within 30000-32767"},
		{"node-ports", "exposure.loadBalancer.nodePort=31443", "exposure.loadBalancer.nodePort only goes with exposure.mode loadBalancer"},
		{"load-balancer", "exposure.loadBalancer.nodePort=31443,clusters.audit.bootstrap={a:9092},clusters.audit.certificate.secret=a,clusters.audit.listener.advertise=a.example.com:9093", "exposure.loadBalancer.nodePort: the Service has several ports"},

		// Names, and keys that do not go together.
		{"load-balancer", "clusters.orders.listener.nodes.sni=kafka.example.com:443", "clusters.orders.listener.nodes.sni"},
		{"load-balancer", "clusters.orders.listener.nodes.sni=b.kafka.example.com:44{node}", "clusters.orders.listener.nodes.sni"},
		{"load-balancer", "clusters.orders.listener.nodes.sni=b{node}.kafka.example.com", "clusters.orders.listener.nodes.sni"},
		{"load-balancer", "clusters.orders.listener.nodes.sni=b{node}.kafka.example.com:9092", "clusters.orders.listener.nodes.sni: b{node}.kafka.example.com:9092 has another port"},
		{"load-balancer", "clusters.orders.listener.nodes.advertise_ports=31100-31109", "clusters.orders.listener.nodes.advertise_ports does not go with sni"},
		{"load-balancer", "clusters.orders.listener.nodes.first_node=1", "clusters.orders.listener.nodes.first_node does not go with sni"},
		{"load-balancer", "clusters.orders.listener.nodes.sni=b{node}.k:443,clusters.orders.listener.nodes.ports=9100-9109", "clusters.orders.listener.nodes: ports and sni"},
		{"load-balancer", "clusters.orders.listener.advertise=b7.k:443,clusters.orders.listener.nodes.sni=b{node}.k:443", "clusters.orders.listener.advertise: b7.k is the name of a node"},
		{"cluster-ip", "clusters.orders.listener.nodes.sni=b{node}.k:9092", "clusters.orders.listener.nodes.sni needs a certificate"},
		{"cluster-ip", "clusters.orders.listener.nodes.slots=1-9", "at '/clusters/orders/listener/nodes': additional properties 'slots' not allowed"},
		{"cluster-ip", "clusters.orders.listener.nodes.addresses=10.0.0.{slot}:9092", "at '/clusters/orders/listener/nodes': additional properties 'addresses' not allowed"},
		{"cluster-ip", "clusters.orders.listener.nodes.advertise_addresses=b{slot}:9092", "at '/clusters/orders/listener/nodes': additional properties 'advertise_addresses' not allowed"},
		{"cluster-ip", "exposure=null", "missing property 'exposure'"},
		{"cluster-ip", "drain.timeout=null", "at '/drain': missing property 'timeout'"},
		{"cluster-ip", "clusters.orders.listener.unknown_sni=bootstrap", "clusters.orders.listener.unknown_sni"},
		{"gateway", "clusters.orders.listener.advertise=audit.example.com:443", "clusters.orders.listener.advertise: audit.example.com is the name of clusters.audit.listener.advertise, too"},
		{"gateway", "clusters.orders.listener.nodes.sni=baudit.example.com:443,clusters.audit.listener.nodes.sni=b{node}.example.com:443", "clusters.orders.listener.nodes.sni"},
		{"gateway", "clusters.orders.listener.proxy_protocol.from={10.0.0.0/8}", "clusters.orders.listener.proxy_protocol is not that of clusters.audit.listener"},
		{"load-balancer-ports", "clusters.audit.bootstrap={a:9092},clusters.audit.listener.bind=:9192,clusters.audit.listener.advertise=audit.example.com:9092,clusters.audit.listener.nodes.ports=9200-9209,clusters.orders.listener.bind=:9092", "clusters.orders.listener.advertise: port 9092 of the Service leads to clusters.audit.listener.advertise already"},
	} {
		t.Run(tt.name+" "+tt.set, func(t *testing.T) {
			t.Parallel()
			out, err := helm(t, "template", "edge", chart, "-n", "kafka", "-f", filepath.Join(values, tt.name+".yaml"), setFlag(tt.set), tt.set)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q\n%.200s", err, tt.want, out)
			}
		})
	}
}

// setFlag is the flag of helm for a setting. --set cannot say every value in JSON.
func setFlag(set string) string {
	if _, value, _ := strings.Cut(set, "="); json.Valid([]byte(value)) {
		return "--set-json"
	}
	return "--set"
}
