package config

import (
	"time"

	"kproxy/internal/auth"
)

// Defaults of Config, each used where the field is zero.
const (
	// DefaultMaxRequestBytes is the broker's own default (socket.request.max.bytes).
	DefaultMaxRequestBytes = 100 << 20
	// DefaultMaxRequestBytesBeforeLogin is the broker's own default (sasl.server.max.receive.size).
	DefaultMaxRequestBytesBeforeLogin = 512 << 10
	// DefaultFirstRequestTimeout is how long a client may take to send its first request header.
	DefaultFirstRequestTimeout = 30 * time.Second
	// DefaultHandshakeTimeout is how long a client may take for its TLS handshake.
	DefaultHandshakeTimeout = 10 * time.Second
	// DefaultConnectTimeout bounds one dial of a broker, with name resolution and TLS handshake.
	DefaultConnectTimeout = 10 * time.Second
	// DefaultKeepalive is how long a connection is silent before TCP keep-alive probes start.
	DefaultKeepalive = 60 * time.Second
	// DefaultForgetAfter is how long a node that no response names keeps its slot in a full range.
	DefaultForgetAfter = 30 * 24 * time.Hour
	// DefaultWatchInterval is the interval of the checks whether the files of TLS and of users have changed.
	DefaultWatchInterval = 5 * time.Second
	// DefaultDrainTimeout bounds how long a Shutdown waits for responses.
	DefaultDrainTimeout = 60 * time.Second
	// DefaultPeerGoneAfter is how long a peer may leave bytes unacknowledged. It is well
	// above the longest outage from which TCP recovers unnoticed, and well below the quarter
	// of an hour after which Linux gives up by itself.
	DefaultPeerGoneAfter = 2 * time.Minute
	// DefaultParkAfter is how long a session is silent before it is parked. It is shorter
	// than the pauses of an idle client, which asks for metadata every few minutes, and longer
	// than the pauses of a busy one.
	DefaultParkAfter = 10 * time.Second
)

// Config is the configuration of a proxy. It comes from a file or from flags.
type Config struct {
	Clusters []Cluster

	StateDir string // directory of the clusters' state files; "": maps are kept in memory only

	MaxRequestBytes            int           // largest request frame, size field excluded; 0: DefaultMaxRequestBytes
	MaxRequestBytesBeforeLogin int           // the same before a client's login at a listener with Login; 0: DefaultMaxRequestBytesBeforeLogin
	FirstRequestTimeout        time.Duration // 0: DefaultFirstRequestTimeout
	HandshakeTimeout           time.Duration // 0: DefaultHandshakeTimeout
	MaxHeldBytes               int64         // memory held for all clients beyond their buffers; 0: a quarter of the memory limit
	MaxHandshakes              int           // clients' TLS handshakes and logins that run at one time; 0: one for each processor but one, at least one
	DrainTimeout               time.Duration // 0: DefaultDrainTimeout

	// WatchInterval is the interval of the checks whether the files of TLS and of users have changed and
	// must be read again; 0: DefaultWatchInterval, less than 0: no checks.
	WatchInterval time.Duration

	ReusePort      bool          // listening sockets share their addresses with those of another process that has it set too
	AdminBind      string        // host:port of the process's admin server, which no listener may have; "": there is none
	MaxConnections int           // clients at one time; 0: as many as the file limit allows
	IdleTimeout    time.Duration // longest silence of a session without requests in flight; 0: no limit
	MaxAge         time.Duration // of a session, which then ends between two requests; 0: no limit
	MaxAgeJitter   float64       // the part of MaxAge, below 1, that a session may end earlier, at random

	// SplicePipes is how many kernel pipes may be used to splice bytes from socket to socket
	// (Linux), at most 64; 0: kproxy chooses the number for the machine; less than 0: none,
	// and all bytes are copied.
	SplicePipes int

	// PeerGoneAfter is how long a peer may leave bytes unacknowledged before it counts as
	// gone; 0: DefaultPeerGoneAfter. Tests set a shorter time.
	PeerGoneAfter time.Duration
	// ParkAfter is how long a session is silent before it gives up its goroutines
	// (Linux, plain TCP); 0: DefaultParkAfter, less than 0: never.
	ParkAfter time.Duration

	Parts Parts // code, not data: the program's packages for AWS_MSK_IAM and ssh
}

// UnknownAPIs is the treatment of API keys that this build does not know. Their responses
// may have addresses that kproxy cannot rewrite.
type UnknownAPIs string

// The values of UnknownAPIs.
const (
	HideUnknownAPIs UnknownAPIs = "hide" // left out of ApiVersions; a request closes the connection
	PassUnknownAPIs UnknownAPIs = "pass" // shown and forwarded
)

// Cluster is one Kafka cluster behind the proxy.
type Cluster struct {
	Name           string   // a lower-case DNS label
	Bootstrap      []string // host:port, tried in turn
	UnknownAPIs    UnknownAPIs
	Brokers        []string // globs on host:port: learned addresses that may be dialled; none: all
	ForgetAfter    time.Duration
	Dial           []DialRule    // first match wins
	ConnectTimeout time.Duration // of a connection until it can be used: name resolution and handshake included
	Keepalive      time.Duration
	TLS            *UpstreamTLS // nil: connections to brokers are in plaintext
	Via            Via
	Source         []string // local addresses of one family to dial from, in turn; none: the system chooses
	// SASL is the proxy's own login, on each connection to a broker. nil: the proxy does not
	// log in, and a client's own login passes through.
	SASL *SASL
	// ProxyProtocol is the version of the PROXY protocol header that begins each connection
	// to a broker and names the client; "": no header. Kafka itself does not accept one.
	ProxyProtocol HeaderVersion
	Listeners     []Listener
}

// Via is another machine, or a program, that connects to the brokers for the proxy. It
// resolves the brokers' names. The zero value is none. Files are read again for each login.
type Via struct {
	URL            string // socks5://, http://, https:// or ssh:// with [user@]host:port, or exec:CMD {host} {port}
	PasswordFile   string // of the URL's user
	KeyFile        string // ssh: a private key; "": the agent's keys, unless there is a password
	PassphraseFile string // of the key
	KnownHosts     string // ssh: the host's key, in OpenSSH's known_hosts format
}

// UpstreamTLS is the TLS of connections to a cluster's brokers. The zero value trusts the
// system's authorities and sends no certificate. Files are in PEM, and are read again when
// they change.
type UpstreamTLS struct {
	CA                 string // file of the authorities that issue the brokers' certificates; "": the system's
	Cert, Key          string // files of the client certificate and its key, for brokers that ask for one; "": none
	ServerName         string // the name that every broker's certificate must have; "": the host that each broker advertises
	MinVersion         string // "1.2" or "1.3"; "": 1.2
	InsecureSkipVerify bool   // accepts any certificate as a broker's
}
type (
	// SASL is the proxy's own login at the brokers of a cluster.
	SASL = auth.SASL
	// OAuth is the source of the tokens of OAUTHBEARER.
	OAuth = auth.OAuth
	// AWS is the choice of credentials for AWS_MSK_IAM.
	AWS = auth.AWS
	// Secret is the place of a secret: a file or an environment variable.
	Secret = auth.Secret
)

// HeaderVersion is a version of HAProxy's PROXY protocol.
type HeaderVersion string

// The versions.
const (
	HeaderV1 HeaderVersion = "v1" // a line of text
	HeaderV2 HeaderVersion = "v2" // binary
)

// HeaderMode is whether connections must begin with a PROXY protocol header.
type HeaderMode string

// The modes.
const (
	HeaderRequired HeaderMode = "required" // only load balancers may connect, and they must send a header
	HeaderOptional HeaderMode = "optional" // clients may also connect directly
)

// LoadBalancers is a listener's treatment of PROXY protocol headers, v1 and v2. The address
// in the header is the client's, for limits, allow, deny and the log. The zero value accepts
// no header.
type LoadBalancers struct {
	From []string // networks and addresses of the load balancers whose headers count
	Mode HeaderMode
}

// DialRule replaces the address at which a broker is dialled. Exactly one of Node and Match
// is set.
type DialRule struct {
	Node  *int32 // the broker with this id
	Match string // glob on host:port, case-insensitive; each * captures {1}, {2}, …
	To    string // host:port with {node} {host} {port} {1} … and at most one sum such as {19092+node}
}

// Listener serves the clients of one network, at addresses that work there.
type Listener struct {
	Name      string // a lower-case DNS label
	Bind      string // host:port where the bootstrap endpoint listens
	Advertise string // host:port that clients bootstrap from; "": Bind, which then may not be a wildcard
	Nodes     Nodes
	TLS       *ListenerTLS // nil: clients connect in plaintext
	// UnknownSNI goes with Nodes.SNI; "": SNIRefuse.
	UnknownSNI UnknownSNI
	// Allow and Deny are networks (10.0.0.0/8) and addresses of clients. A client's address
	// must be in Allow (empty: all are) and not in Deny.
	Allow, Deny   []string
	ProxyProtocol LoadBalancers
	Login         *Login // clients' login at the proxy itself; nil: none
	APIs          APIs
	Limits        ListenerLimits
}

// ListenerTLS is the TLS of a listener's connections. Files are in PEM, except for ticket
// keys, and are read again when they change.
type ListenerTLS struct {
	Certs      []KeyPair // at least one; a client gets the first that matches the server name that it asks for
	ClientCA   string    // file of the authorities that issue clients' certificates; "": clients are not asked for one
	ClientAuth string    // "required" or "requested"; "": required if there is a ClientCA
	Subjects   []string  // certificate subjects that are admitted, such as "CN=app-*,O=example"; none: all
	MinVersion string    // "1.2" or "1.3"; "": 1.2
	TicketKeys []string  // files of 32 random bytes or more, for replicas to resume each other's sessions; none: the process's own
}

// KeyPair names the files of a certificate, with its intermediates, and of its
// private key.
type KeyPair struct{ Cert, Key string }

// Login is the login of a listener's clients at the proxy itself. The proxy forwards none of
// a client's requests before its login, and never the login itself.
type Login struct {
	Mechanisms []string // of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512
	UsersFile  string   // file of the users; read again when it changes
}

// ListenerLimits bound the connections of one listener's clients. At a limit the newest
// connection is closed at once. 0 is no limit.
type ListenerLimits struct {
	MaxConnections int // clients at one time
	MaxPerSource   int // clients at one time with one IP address
	AcceptRate     int // new clients per second
}

// UnknownSNI is the treatment of clients that ask for no server name, or for one that belongs
// to no endpoint of the address.
type UnknownSNI string

// The values of UnknownSNI.
const (
	SNIRefuse    UnknownSNI = "refuse"
	SNIBootstrap UnknownSNI = "bootstrap" // to the listener's bootstrap endpoint
)

// Nodes gives every node (broker id) of a listener an endpoint of its own. One of
// SNI, Ports and Addresses is set. With the last two, node n has slot n -
// FirstNode, or the slot that Pin names, and the slot a port or an address.
type Nodes struct {
	// SNI is a host:port with {node}, and maybe {cluster}. It is the advertised address of a
	// node, and its host is the server name that clients ask for in TLS. All nodes' clients
	// connect to Bind, which several such listeners may share.
	SNI string

	FirstNode int32         // the node of the first slot
	Pin       map[int32]int // node -> its port (with Ports) or its slot (with Addresses)

	Ports          Range // ports on Bind's host, e.g. 9100-9199
	AdvertisePorts Range // as many ports, advertised instead of Ports; zero: Ports

	Addresses          string // host:port with {slot}, e.g. 127.0.1.{slot}:9092
	AdvertiseAddresses string // host:port with {slot}, advertised instead; "": Addresses
	Slots              Range  // the values of {slot}
}

// Range is an inclusive range of ports or slots. The zero Range is absent.
type Range struct{ First, Last int }

// Len returns how many numbers r has: 0 for the zero Range.
func (r Range) Len() int {
	if r == (Range{}) {
		return 0
	}
	return r.Last - r.First + 1
}
