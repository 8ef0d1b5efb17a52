package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"kproxy/internal/hostport"
	"kproxy/internal/speaks"
	"kproxy/internal/via"
)

// remedy is the fix for a verdict. All its lines and its command can be pasted.
func (c Case) remedy(v Verdict) Fix {
	if !isTame(c.Working) {
		c.Working = ""
	}
	if !listenerName.MatchString(c.Listener) {
		c.Listener = ""
	}
	return pasteable(c.fix(v))
}

// fix is the fix for a verdict.
func (c *Case) fix(v Verdict) Fix {
	switch v { //nolint:exhaustive // other verdicts concern a name, a connection or a node
	case Untrusted, Expired, WrongName, WantsCert, CertRefused, TLSVersion, TLSName, TLSFailed, WantsTLS, NoTLS:
		return c.fixTLS(v)
	case Mechanism, Password, NoLogin, Plaintext, LoginWanted, LoginFailed:
		return c.fixLogin(v)
	case OtherThing, IsControl, ProxyFirst, ClosesFirst, Closes, Silent, BadKafka:
		return c.fixPort(v)
	case ViaFailed:
		return c.fixVia()
	case BadID:
		return fixID()
	}
	if c.IsBootstrap() {
		return c.fixBootstrap(v)
	}
	return c.fixNode(v)
}

// fixBootstrap is for an address of the user's that is not reached.
func (c *Case) fixBootstrap(v Verdict) Fix {
	where := c.User.key("the address", "bootstrap.servers", "bootstrap.servers")
	switch v {
	case NameUnknown:
		return Fix{Text: "see whether " + where + " is spelt as it should be, and whether the VPN is up that knows the name; or go through a machine that resolves it, with --via", Docs: docsNames}
	case NameTimeout:
		return Fix{Text: "see whether the name server of this machine runs and is reached (/etc/resolv.conf names it), and whether the VPN is up that leads to it; or go through a machine that resolves the name, with --via", Docs: docsNames}
	case Refused:
		return Fix{Text: "see whether the broker runs, and whether " + where + " has the right port: that of the broker's listener, or the one that is mapped or forwarded to it. If you just changed the broker's configuration, it may have refused to start: the end of its log says why", Docs: docsPorts}
	case Stranger:
		return Fix{Text: "leave it out: the addresses that a client bootstraps from have to be of one cluster", Docs: docsOwnAddress}
	case PortBlocked:
		return Fix{Text: c.openPort(), Docs: docsPorts}
	default:
		return Fix{Text: "see whether the broker's machine is up and whether a firewall or a security group lets this machine through; or go through another machine, with --via", Docs: docsPorts}
	}
}

func (c *Case) openPort() string {
	return "let the port through: a firewall, a security group or a port mapping (docker -p, a NAT rule, a Kubernetes service) has the other port and not this one"
}

// fixNode is for an address that a broker advertises and that is not reached, or leads
// to another.
func (c *Case) fixNode(v Verdict) Fix {
	switch v {
	case Missing:
		return Fix{Text: "start the broker, and read its log if it does not stay up; if it was removed for good, move its replicas to other brokers (kafka-reassign-partitions.sh)", Docs: docsMissing}
	case Localhost:
		return c.readvertise("have the broker advertise an address that leads to it from other machines", docsLocalhost)
	case Wildcard:
		return c.readvertise("0.0.0.0 belongs into listeners, where it means every interface. Have the broker advertise its name or address", docsLocalhost)
	case NoAddress, NotDialled:
		return c.readvertise("have the broker advertise a host and a port that clients can connect to", docsAdvertised)
	case Refused:
		if c.Working != "" {
			return c.readvertise("the broker runs: it responds at the address in the lines below. Have it advertise that one in the place of this one", docsPorts)
		}
		return c.readvertise("see whether the broker runs. If it listens at another port, or another port is mapped to it, have it advertise that one", docsPorts)
	case PortBlocked:
		f := c.readvertise(c.openPort()+". Or have the broker advertise an address that works", docsPorts)
		if c.Working == "" {
			f = Fix{Text: c.openPort(), Docs: docsPorts}
		}
		return f
	case SameAddress, AnotherNode, Balancer, Stranger:
		return c.readvertise("each broker has to advertise an address that leads to itself alone, and not that of a load balancer or of a port that is mapped for all", docsOwnAddress)
	case NameUnknown:
		return c.another("the name is known inside the broker's network only, as that of a container, a pod or a machine in a cloud is", docsNetworks)
	case NameTimeout:
		return c.another("see whether the name server or the VPN is up that knows the name", docsNames)
	case Private:
		return c.another("connect from inside that network or over its VPN", docsNetworks)
	case Filtered:
		return c.another("see whether the machine is up and whether a firewall or a security group lets this machine through", docsPorts)
	case NoRoute:
		if Dialled(c.Err, c.Address).IsPrivate() {
			return c.another("connect from inside that network or over its VPN", docsNetworks)
		}
		return c.another("see whether the address is still the broker's, and whether its machine is up", docsNetworks)
	default:
		return c.another("the address does not work from here", docsNetworks)
	}
}

// Notes on lines.
const (
	noteHost    = "for HOST, write the name or address by which clients here reach the broker"
	notePort    = "for PORT, write the port of the listener"
	notePartial = "where the broker's configuration could not be read, the lines have one listener of it only: keep the entries of the others, and of a controller"
	noteBind    = "the new listener opens its port on every address of the machine, where %s opens it on one; write a host into it to keep to one"
	noteName    = "%s stands for the name of the listener that clients bootstrap at"
)

// restart is for lines of server.properties.
const restart = ". Then restart the broker"

// brokersFile begins the name of a broker's file.
const brokersFile = "server.properties"

// file is where lines for the broker go.
func (c *Case) file() string { return fmt.Sprintf(brokersFile+" of node %d", c.Node) }

// readvertise makes the broker advertise another address for the same listener.
func (c *Case) readvertise(text, section string) Fix {
	f := Fix{Text: text, File: c.file(), Docs: section}
	address := c.Working
	host, port, err := hostport.Parse(c.Address)
	switch {
	case address != "":
	case err == nil && (section == docsLocalhost || section == docsOwnAddress): // the port is good
		address = joinHost("HOST", port)
	case isTame(c.Address) && section != docsAdvertised: // the host is good
		address = withPort(host, "PORT")
	default:
		address = "HOST:PORT"
	}
	return c.advertise(f, address)
}

// withPort is host:port where the port is a word.
func withPort(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}

// advertise adds the lines by which the broker advertises an address, which may have HOST and
// PORT in it.
func (c *Case) advertise(f Fix, address string) Fix {
	protocol := c.User.Protocol()
	f.Text += restart
	f.File, f.Properties = c.file(), c.Layout.advertise(c.Address, address, protocol, cmp.Or(c.Listener, protocol))
	f.Env = env(f.Properties)
	if strings.Contains(f.Properties[0], "://HOST:") {
		f.Notes = append(f.Notes, noteHost)
	}
	if strings.HasSuffix(address, ":PORT") {
		f.Notes = append(f.Notes, notePort)
	}
	return c.partial(f, protocol)
}

// partial marks lines that lack the broker's other listeners. name is the listener's if even that
// is not known.
func (c *Case) partial(f Fix, name string) Fix {
	if len(c.Layout.Listeners) > 0 {
		return f
	}
	f.Partial = true
	f.Notes = append(f.Notes, notePartial)
	if c.Listener == "" {
		f.Notes = append(f.Notes, fmt.Sprintf(noteName, name))
	}
	return f
}

// another gives the broker a listener for clients from here, beside the one that it has.
func (c *Case) another(text, section string) Fix {
	host := "HOST"
	if c.Working != "" {
		host, _, _ = hostport.Parse(c.Working)
	}
	lines, address := c.Layout.add(c.Address, host, c.User.Protocol(), cmp.Or(c.Listener, unnamed))
	f := Fix{File: c.file(), Properties: lines, Env: env(lines), Docs: section}
	f.Text = text + ". Give the broker a listener of its own for clients from here, at a port that a firewall and a container let through" + restart
	f.Bootstrap = address
	if strings.Contains(strings.Join(lines, ","), "://HOST:") {
		f.Notes = append(f.Notes, noteHost)
	}
	if x, ok := c.Layout.at(c.Address, c.User.Protocol()); ok && c.Layout.bind(c.Address, c.User.Protocol()) == "" && !hostport.IsWildcard(x.Host) {
		f.Notes = append(f.Notes, fmt.Sprintf(noteBind, x))
	}
	return c.partial(f, unnamed)
}

// fixVia is for a connection through another machine.
func (c *Case) fixVia() Fix {
	if isCommandsEnd(c.Err) {
		return c.fixCommand()
	}
	failed, _ := errors.AsType[*via.Error](c.Err)
	switch failed.Outcome { //nolint:exhaustive // other verdicts concern the connection behind it
	case via.OutcomeCredentials, via.OutcomeProxyUnreachable, via.OutcomeProxyUntrusted, via.OutcomeProxyProtocol, via.OutcomeLoginRefused:
		return Fix{Text: c.fixHop(failed.Outcome), Docs: docsNames}
	}
	if failed.Outcome == via.OutcomeTargetRefused {
		return Fix{Text: "have " + c.User.Via + " allow connections to the address (in sshd_config: AllowTcpForwarding and PermitOpen)", Docs: docsNetworks}
	}
	if c.IsBootstrap() {
		return Fix{Text: "see whether " + c.User.Via + " can reach the address: it is resolved and dialled there", Docs: docsNetworks}
	}
	return c.another("the address does not work from "+c.User.Via+" either", docsNetworks)
}

// fixHop is for the machine of --via itself.
func (c *Case) fixHop(o via.Outcome) string {
	switch o {
	case via.OutcomeCredentials:
		return "look at the files that --via-key-file, --via-passphrase-file and --via-password-file name, or at the SSH agent"
	case via.OutcomeProxyUntrusted:
		return "compare the key or certificate of the machine with the one that its administrator gives; SSH's known keys are in " +
			cmp.Or(c.User.value("--via-known-hosts"), "~/.ssh/known_hosts")
	case via.OutcomeProxyProtocol:
		return "see whether --via has the right port and scheme"
	case via.OutcomeLoginRefused:
		return "see whether the user in --via and the key or password are those that the machine knows"
	default:
		return "see whether --via names the right machine and port, and whether that is up and can be reached from here"
	}
}

// fixPort is for a port that is not a broker's.
func (c *Case) fixPort(v Verdict) Fix {
	port := c.User.key("HOST:PORT", "bootstrap.servers", "bootstrap.servers")
	switch v { //nolint:exhaustive // fix has chosen
	case IsControl:
		if c.IsBootstrap() {
			f := Fix{Text: "give the port of a broker's listener in " + port + ": usually 9092, where controllers have 9093", Docs: docsControllers}
			return c.client(f, "bootstrap.servers=HOST:9092")
		}
		return c.readvertise("have the broker advertise its own listener, and not the controller's", docsControllers)
	case ProxyFirst:
		return Fix{Text: "a balancer (HAProxy's send-proxy or accept-proxy, an AWS NLB) is set up for the PROXY protocol, which Kafka clients and brokers do not speak: switch it off for this port, or connect to the brokers' own port", Docs: docsServices}
	case ClosesFirst:
		return Fix{Text: "a balancer, a port-forward or a port mapping accepts the connection and has nothing behind it: see whether the broker runs, and whether the mapping leads to its port. A broker itself closes at once if a balancer puts a PROXY header in front (HAProxy's send-proxy): switch that off", Docs: docsServices}
	case Closes:
		return Fix{Text: "find out which program listens there: a proxy that has no broker behind it, a TLS port that hides, or another protocol. The broker's log says more if it is one", Docs: docsServices}
	case Silent:
		return Fix{Text: "find out which program listens there: a broker that hangs or still starts, a balancer that has no broker behind it and closes the connection only after some seconds, or another protocol", Docs: docsServices}
	case BadKafka:
		if c.Peer.Kind == speaks.Cut {
			return Fix{Text: "see whether the broker hangs, which its log says, and whether a proxy or a balancer in front of it loses the rest", Docs: docsServices}
		}
		return Fix{Text: "see the broker's log: it responds, and not as it should", Docs: docsServices}
	}
	if c.IsBootstrap() {
		return Fix{Text: "give the port of a Kafka broker in " + port + "; " + hint(c.Peer.Kind), Docs: docsServices}
	}
	return c.readvertise("have the broker advertise the port of its own listener", docsServices)
}

// hint relates a service to Kafka.
func hint(k speaks.Kind) string {
	switch k {
	case speaks.ZooKeeper:
		return "ZooKeeper's is for brokers of Kafka before 4.0, and no client has needed it since 0.9"
	case speaks.HTTP:
		return "an HTTP port near Kafka is a REST proxy's, a schema registry's, Connect's or a web console's"
	default:
		return "brokers usually have 9092, or 9093 and 9094 for TLS and SASL"
	}
}
