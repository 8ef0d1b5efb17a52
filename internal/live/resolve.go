package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"kproxy/internal/doctor"
	"kproxy/internal/foreign"
)

// resolve looks up the advertised names, and keeps those that have no address.
func (l *walk) resolve(ctx context.Context) {
	hosts := slices.DeleteFunc(l.hosts(), func(host string) bool { return net.ParseIP(host) != nil })
	if len(hosts) == 0 {
		return
	}
	errs := make([]error, len(hosts))
	tried := l.each(ctx, len(hosts), func(ctx context.Context, i int) {
		_, errs[i] = net.DefaultResolver.LookupNetIP(ctx, "ip", hosts[i])
	})
	l.unresolved = map[string]bool{}
	var missing []string
	bootstrap := hostOf(l.of.Advertised)
	for i, host := range hosts {
		if errs[i] == nil || !tried[i] {
			continue
		}
		l.unresolved[host] = true
		if host != bootstrap {
			missing = append(missing, host)
			continue
		}
		l.add(unresolved(l.of.BootstrapKey, l.of.Advertised, host, errs[i]))
	}
	if len(missing) > 0 {
		i := slices.Index(hosts, missing[0])
		l.add(unresolved(l.of.NodesKey, "", few(missing), errs[i]))
	}
	switch n := untried(tried); {
	case n > 0:
		l.note(l.of.Key, NotChecked, "there was no time to look up "+counted(n, "advertised name"), "")
	case len(l.unresolved) == 0:
		l.ok(l.of.Key, Resolves, counted(len(hosts), "advertised name")+" "+map[bool]string{true: "resolves", false: "resolve"}[len(hosts) == 1]+" here")
	}
}

// hosts returns the advertised hosts of bootstrap and of the first nodes, each once.
func (l *walk) hosts() []string {
	hosts := map[string]bool{hostOf(l.of.Advertised): true}
	nodes := slices.Sorted(maps.Keys(l.of.Endpoints))
	for _, node := range nodes[:min(len(nodes), maxNodes)] {
		hosts[hostOf(l.of.Endpoints[node].Advertised)] = true
	}
	return slices.Sorted(maps.Keys(hosts))
}

func unresolved(key, address, hosts string, err error) Finding {
	f := Finding{Level: Fault, Key: key, Kind: Kind(doctor.NameUnknown), Address: address}
	if dns, ok := errors.AsType[*net.DNSError](err); !ok || !dns.IsNotFound {
		f.Kind = Kind(doctor.NameTimeout)
	}
	f.Says = fmt.Sprintf("the name server here has no address for %s, as advertised: %s", hosts, doctor.Cause(err))
	f.Fix = "add the name to the DNS, for nodes a wildcard record, or advertise a name that is there; if only the clients' DNS has it, run the check where they run"
	return f
}

// few is the first of some texts, for a sentence.
func few(all []string) string {
	const most = 3
	text := strings.Join(all[:min(len(all), most)], ", ")
	if more := len(all) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return foreign.Line(text)
}
