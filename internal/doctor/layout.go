package doctor

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"kproxy/internal/hostport"
)

// Layout has the listeners in a broker's configuration. The zero value stands for one
// that could not be read.
type Layout struct {
	Listeners   []Listener        // listeners
	Advertised  []Listener        // advertised.listeners; nil: not set
	Map         map[string]string // listener.security.protocol.map
	Controllers []string          // controller.listener.names
}

// Listener is NAME://HOST:PORT. The host may be empty.
type Listener struct {
	Name, Host string
	Port       int32
}

func (l Listener) String() string { return l.Name + "://" + joinHost(l.Host, l.Port) }

func joinHost(host string, port int32) string {
	if host == "" {
		return ":" + strconv.Itoa(int(port))
	}
	return hostport.Join(host, port)
}

// LayoutKeys are the keys of a broker's configuration that ParseLayout reads.
var LayoutKeys = []string{"listeners", "advertised.listeners", "listener.security.protocol.map", "controller.listener.names"}

// maxLayout bounds a value of these keys, in bytes, and their lists.
const (
	maxLayout    = 8192
	maxListeners = 64
)

var listenerName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// ParseLayout reads the values of LayoutKeys. It returns the zero Layout if one of them does
// not have Kafka's format: they come from a peer, and get into lines that users paste.
func ParseLayout(values map[string]string) Layout {
	var l Layout
	var ok bool
	for _, value := range values {
		if len(value) > maxLayout {
			return Layout{}
		}
	}
	if l.Listeners, ok = parseListeners(values["listeners"]); !ok || len(l.Listeners) == 0 {
		return Layout{}
	}
	if l.Advertised, ok = parseListeners(values["advertised.listeners"]); !ok {
		return Layout{}
	}
	l.Map = map[string]string{}
	for _, pair := range words(values["listener.security.protocol.map"]) {
		name, protocol, cut := strings.Cut(pair, ":")
		if !cut || !listenerName.MatchString(name) || !listenerName.MatchString(protocol) {
			return Layout{}
		}
		l.Map[name] = protocol
	}
	l.Controllers = words(values["controller.listener.names"])
	if len(l.Map) > maxListeners || slices.ContainsFunc(l.Controllers, func(n string) bool { return !listenerName.MatchString(n) }) {
		return Layout{}
	}
	return l
}

func words(list string) []string {
	var all []string
	for word := range strings.SplitSeq(list, ",") {
		if word = strings.TrimSpace(word); word != "" {
			all = append(all, word)
		}
	}
	return all
}

func parseListeners(list string) ([]Listener, bool) {
	var all []Listener
	for _, text := range words(list) {
		name, address, ok := strings.Cut(text, "://")
		host, port, err := hostport.Parse(address)
		if !ok || err != nil || !listenerName.MatchString(name) || strings.Contains(host, "%") {
			return nil, false
		}
		all = append(all, Listener{name, host, port})
	}
	return all, len(all) <= maxListeners
}

// advertised are the listeners that are advertised to clients, without those of controllers.
// Values that are not set explicitly come from listeners. An empty host there stands for the
// one of at, or HOST if that cannot be pasted.
func (l Layout) advertised(at string) []Listener {
	if len(l.Advertised) > 0 {
		return slices.Clone(l.Advertised)
	}
	host, port, err := hostport.Parse(at)
	if err != nil || !isTameHost(host) {
		host = "HOST"
	}
	all := slices.DeleteFunc(slices.Clone(l.Listeners), func(x Listener) bool { return slices.Contains(l.Controllers, x.Name) })
	for i := range all {
		if hostport.IsWildcard(all[i].Host) {
			all[i].Host = host
		}
		if len(all) == 1 && err == nil {
			all[i].Host, all[i].Port = host, port
		}
	}
	return all
}

// index is the listener that advertises an address, and among several the first one of a security
// protocol; -1: there is none.
func (l Layout) index(all []Listener, address, protocol string) int {
	if host, port, err := hostport.Parse(address); err == nil && !isTameHost(host) {
		address = joinHost("HOST", port) // as advertised has it
	}
	is := func(x Listener) bool {
		return hostport.CanonicalAddress(joinHost(x.Host, x.Port)) == hostport.CanonicalAddress(address)
	}
	i := slices.IndexFunc(all, func(x Listener) bool { return is(x) && l.protocolOf(x.Name) == protocol })
	if i < 0 {
		i = slices.IndexFunc(all, is)
	}
	return i
}

// protocolOf is the security protocol of a listener. By default Kafka maps the names of the four
// protocols to themselves, and the name of a controller's listener to PLAINTEXT.
func (l Layout) protocolOf(name string) string {
	if of := l.Map[name]; of != "" {
		return of
	}
	if slices.Contains(protocols, name) {
		return name
	}
	return "PLAINTEXT"
}

// protocols are Kafka's security protocols.
var protocols = []string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}

// NameOf is the name of the listener of a security protocol that advertises an address; "": there
// is none.
func (l Layout) NameOf(address, protocol string) string {
	all := l.advertised(address)
	if i := l.index(all, address, protocol); i >= 0 && len(l.Listeners) > 0 {
		return all[i].Name
	}
	return ""
}

func join(all []Listener) string {
	var texts []string
	for _, l := range all {
		texts = append(texts, l.String())
	}
	return strings.Join(texts, ",")
}

// advertise returns the lines by which a broker advertises an address, which may have HOST and
// PORT in it, in place of another. protocol is that of clients, and name the listener's if this
// broker's listeners are not known.
func (l Layout) advertise(old, address, protocol, name string) []string {
	var entries []string
	all := l.advertised(old)
	at := l.index(all, old, protocol)
	for i, x := range all {
		if i == at {
			entries = append(entries, x.Name+"://"+address)
		} else {
			entries = append(entries, x.String())
		}
	}
	if len(l.Listeners) == 0 || at < 0 {
		entries = []string{name + "://" + address}
	}
	return []string{"advertised.listeners=" + strings.Join(entries, ",")}
}

// unnamed is the name of an unknown listener.
const unnamed = "INTERNAL"

// add are the lines by which a broker gets another listener, at host and a port of its own. It
// returns the address that the new listener advertises. name is the existing listener, if this
// broker's listeners are not known.
func (l Layout) add(old, host, protocol, name string) (lines []string, address string) {
	oldHost, oldPort, err := hostport.Parse(old)
	if err != nil || !isTame(old) {
		oldHost, oldPort = "HOST", 9092
	}
	port := l.freePort(oldPort)
	if len(l.Listeners) == 0 {
		old, extra := Listener{name, oldHost, oldPort}, Listener{"EXTERNAL", host, port}
		lines = []string{
			"listeners=" + join([]Listener{{old.Name, "", oldPort}, {extra.Name, "", port}}),
			"advertised.listeners=" + join([]Listener{old, extra}),
			"listener.security.protocol.map=" + old.Name + ":" + protocol + "," + extra.Name + ":" + protocol,
		}
		if name == unnamed { // brokers speak to each other over a listener that has this name
			lines = append(lines, "inter.broker.listener.name="+old.Name)
		}
		return lines, joinHost(host, port)
	}
	name = "EXTERNAL"
	for n := 2; l.has(name); n++ {
		name = "EXTERNAL" + strconv.Itoa(n)
	}
	bound := append(slices.Clone(l.Listeners), Listener{name, l.bind(old, protocol), port})
	told := append(l.advertised(old), Listener{name, host, port})
	return []string{
		"listeners=" + join(bound),
		"advertised.listeners=" + join(told),
		"listener.security.protocol.map=" + l.protocols(name, protocol),
	}, joinHost(host, port)
}

// bind is the host where a new listener opens its port, beside the one that advertises old: the
// same IP address, if that one is bound to a single address; "": every address.
func (l Layout) bind(old, protocol string) string {
	x, ok := l.at(old, protocol)
	if ip, err := netip.ParseAddr(x.Host); !ok || err != nil || ip.IsUnspecified() {
		return ""
	}
	return x.Host
}

// at is the entry of listeners that advertises an address; the only one, if none is known to.
func (l Layout) at(address, protocol string) (Listener, bool) {
	all := l.advertised(address)
	name := ""
	if i := l.index(all, address, protocol); i >= 0 {
		name = all[i].Name
	} else if len(all) == 1 {
		name = all[0].Name
	}
	i := slices.IndexFunc(l.Listeners, func(x Listener) bool { return x.Name == name })
	if i < 0 {
		return Listener{}, false
	}
	return l.Listeners[i], true
}

func (l Layout) has(name string) bool {
	return l.Map[name] != "" || slices.ContainsFunc(l.Listeners, func(x Listener) bool { return x.Name == name })
}

// freePort is a port that no listener has, ten thousand above another.
func (l Layout) freePort(port int32) int32 {
	const above, most = 10000, 65535
	if port += above; port > most {
		port -= 2 * above
	}
	for slices.ContainsFunc(l.Listeners, func(x Listener) bool { return x.Port == port }) && port < most {
		port++
	}
	return port
}

// protocols is the map of the names that are in use, and of one more.
func (l Layout) protocols(name, protocol string) string {
	var pairs []string
	for _, x := range l.Listeners {
		pairs = append(pairs, x.Name+":"+l.protocolOf(x.Name))
	}
	for _, n := range l.Controllers {
		if !slices.ContainsFunc(l.Listeners, func(x Listener) bool { return x.Name == n }) {
			pairs = append(pairs, n+":"+l.protocolOf(n))
		}
	}
	return strings.Join(append(pairs, name+":"+protocol), ",")
}

// env writes lines of server.properties as the variables that Kafka's container images read.
func env(lines []string) []string {
	var all []string
	for _, line := range lines {
		key, value, _ := strings.Cut(line, "=")
		all = append(all, fmt.Sprintf("KAFKA_%s=%s", strings.ToUpper(strings.ReplaceAll(key, ".", "_")), value))
	}
	return all
}
