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
	// DefaultConnectTimeout bounds one dial of a broker, name resolution and TLS handshake included.
	DefaultConnectTimeout = 10 * time.Second
	// DefaultKeepalive is how long a connection is silent before TCP keep-alive probes start.
	DefaultKeepalive = 60 * time.Second
	// DefaultForgetAfter is how long a node keeps its slot unseen in a range that is full.
	DefaultForgetAfter = 30 * 24 * time.Hour
	// DefaultWatchInterval is how often the files of TLS are looked at.
	DefaultWatchInterval = 5 * time.Second
	// DefaultDrainTimeout bounds how long a Shutdown waits for answers in flight.
	DefaultDrainTimeout = 60 * time.Second
	// DefaultPeerGoneAfter is how long a peer may leave bytes unacknowledged. It
	// is well above the longest outage that TCP mends without anybody noticing,
	// and well below the quarter of an hour after which Linux gives up by itself.
	DefaultPeerGoneAfter = 2 * time.Minute
	// DefaultParkAfter is how long a session is silent before it gives up what it
	// needs to move. It is shorter than the pauses of a client that is idle, which
	// asks for metadata once in minutes, and longer than those of one that is not.
	DefaultParkAfter = 10 * time.Second
)

// Config is the configuration of a proxy. It comes from a file or from flags.
type Config struct {
	Clusters []Cluster

	StateDir string // where each cluster's map is remembered; "": in memory only

	MaxRequestBytes            int           // largest request frame, size field excluded; 0: DefaultMaxRequestBytes
	MaxRequestBytesBeforeLogin int           // the same for clients that have not logged in where Listener.Login wants it; 0: DefaultMaxRequestBytesBeforeLogin
	FirstRequestTimeout        time.Duration // 0: DefaultFirstRequestTimeout
	HandshakeTimeout           time.Duration // 0: DefaultHandshakeTimeout
	MaxHeldBytes               int64         // what is held for all clients beside their buffers; 0: a quarter of the memory limit
	MaxHandshakes              int           // of clients, that are worked on at one time; 0: one for each processor but one, at least one
	DrainTimeout               time.Duration // 0: DefaultDrainTimeout

	// WatchInterval is how often the files of TLS are looked at, to be read again when
	// they have changed; 0: DefaultWatchInterval, less than 0: never.
	WatchInterval time.Duration

	AdminBind      string        // host:port where the process's admin server listens: no listener's; "": there is none
	MaxConnections int           // clients at one time; 0: as many as the file limit allows
	IdleTimeout    time.Duration // longest silence of a session that owes nothing; 0: any
	MaxAge         time.Duration // of a session, which then ends between two requests; 0: any
	MaxAgeJitter   float64       // the part of MaxAge, below 1, that a session may end earlier, at random

	// SplicePipes is how many kernel pipes may be used to splice bytes from
	// socket to socket (Linux), 64 at most; 0: as many as the machine suggests,
	// less than 0: none, so that everything is copied.
	SplicePipes int

	// PeerGoneAfter is how long a peer may leave bytes unacknowledged before it
	// counts as gone; 0: DefaultPeerGoneAfter. Tests have less patience.
	PeerGoneAfter time.Duration
	// ParkAfter is how long a session is silent before it gives up its goroutines
	// (Linux, plain TCP); 0: DefaultParkAfter, less than 0: never.
	ParkAfter time.Duration

	Parts Parts // code, not data: what the program links for AWS_MSK_IAM and ssh
}

// UnknownAPIs says what happens to API keys that this build has never heard of
// and so cannot promise to hold no address.
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
	TLS            *UpstreamTLS // nil: the brokers are spoken to in plaintext
	Via            Via
	Source         []string // local addresses of one family to dial from, in turn; none: the system chooses
	// SASL is how the proxy logs in for its clients, on each connection to a
	// broker. nil: it does not, and a client's own login passes through.
	SASL *SASL
	// ProxyProtocol has each broker's connection begin with a PROXY protocol header that
	// names the client; "": it does not. Kafka itself does not take one.
	ProxyProtocol HeaderVersion
	Listeners     []Listener
}

// Via is another machine, or a program, that reaches the brokers for the proxy:
// names resolve at its side. The zero value is none. Files are read again for each
// login.
type Via struct {
	URL            string // socks5://, http://, https:// or ssh:// with [user@]host:port, or exec:CMD {host} {port}
	PasswordFile   string // of the URL's user
	KeyFile        string // ssh: a private key; "": the agent's, unless there is a password
	PassphraseFile string // of the key
	KnownHosts     string // ssh: the host's key, as OpenSSH's known_hosts has it
}

// UpstreamTLS is how a cluster's brokers are spoken to. The zero value trusts the
// system's authorities and shows no certificate. Files are in PEM, and read again
// when they change.
type UpstreamTLS struct {
	CA                 string // file of the authorities that the brokers' certificates lead to; "": the system's
	Cert, Key          string // files of what the brokers are shown when they ask; "": nothing
	ServerName         string // looked for in every broker's certificate; "": the host that each broker advertises
	MinVersion         string // "1.2" or "1.3"; "": 1.2
	InsecureSkipVerify bool   // takes any certificate for the broker's
}
type (
	// SASL is how the proxy logs in at the brokers of a cluster.
	SASL = auth.SASL
	// OAuth is where the tokens of OAUTHBEARER come from.
	OAuth = auth.OAuth
	// AWS is which credentials AWS_MSK_IAM uses.
	AWS = auth.AWS
	// Secret is where a secret is.
	Secret = auth.Secret
)

// HeaderVersion is a version of HAProxy's PROXY protocol.
type HeaderVersion string

// The versions.
const (
	HeaderV1 HeaderVersion = "v1" // a line of text
	HeaderV2 HeaderVersion = "v2" // binary
)

// HeaderMode says whether a load balancer has to name its clients.
type HeaderMode string

// The modes.
const (
	HeaderRequired HeaderMode = "required" // only connections of load balancers, and none without a header
	HeaderOptional HeaderMode = "optional" // clients may also come by themselves
)

// LoadBalancers is what a listener does with PROXY protocol headers, v1 and v2:
// the client is who the header says, for limits, allow, deny and the log. The
// zero value takes none.
type LoadBalancers struct {
	From []string // networks and addresses of the load balancers whose headers count
	Mode HeaderMode
}

// DialRule says where a broker is really reached. Exactly one of Node and
// Match is set.
type DialRule struct {
	Node  *int32 // the broker with this id
	Match string // glob on host:port, case-insensitive; each * captures {1}, {2}, …
	To    string // host:port with {node} {host} {port} {1} … and at most one sum such as {19092+node}
}

// Listener is one way in: a network that clients come from, and the addresses
// that work from there.
type Listener struct {
	Name      string // a lower-case DNS label
	Bind      string // host:port where the bootstrap endpoint listens
	Advertise string // host:port that clients bootstrap from; "": Bind, which then may not be a wildcard
	Nodes     Nodes
	TLS       *ListenerTLS // nil: clients speak plaintext
	// UnknownSNI goes with Nodes.SNI; "": SNIRefuse.
	UnknownSNI UnknownSNI
	// Allow and Deny are networks (10.0.0.0/8) and addresses that clients come from.
	// A client must be in Allow (empty: all are) and not in Deny.
	Allow, Deny   []string
	ProxyProtocol LoadBalancers
	Login         *Login // how clients log in at the proxy itself; nil: they do not
	APIs          APIs
	Limits        ListenerLimits
}

// ListenerTLS is what a listener shows its clients. Files are in PEM, ticket keys
// excepted, and read again when they change.
type ListenerTLS struct {
	Certs      []KeyPair // one at least; a client is shown the first that fits the name that it asks for
	ClientCA   string    // file of the authorities that clients' certificates lead to; "": clients are not asked
	ClientAuth string    // "required" or "requested"; "": required where there is a ClientCA
	Subjects   []string  // clients that are let in, of those with a certificate, as "CN=app-*,O=example"; none: all
	MinVersion string    // "1.2" or "1.3"; "": 1.2
	TicketKeys []string  // files of 32 random bytes or more, for replicas to resume each other's sessions; none: the process's own
}

// KeyPair names the files of a certificate, with its intermediates, and of its
// private key.
type KeyPair struct{ Cert, Key string }

// Login is how a listener's clients log in at the proxy itself. Nothing of what
// they send goes to a broker before they have, and nothing of the login ever.
type Login struct {
	Mechanisms []string // of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512
	UsersFile  string   // who they may be; read again when it changes
}

// ListenerLimits are what one listener's clients may take of the proxy. At a
// limit the newest connection is closed at once. 0 is no limit.
type ListenerLimits struct {
	MaxConnections int // clients at one time
	MaxPerSource   int // clients at one time with one IP address
	AcceptRate     int // new clients in a second
}

// UnknownSNI says where clients are led whose server name belongs to no endpoint of the
// address, or that ask for none.
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
	// SNI is a host:port with {node}, and maybe {cluster}: what clients are told for
	// a node, and know it by in TLS. All come in at Bind, which several such
	// listeners may share.
	SNI string

	FirstNode int32         // the node of the first slot
	Pin       map[int32]int // node -> its port (with Ports) or its slot (with Addresses)

	Ports          Range // ports on Bind's host, e.g. 9100-9199
	AdvertisePorts Range // as many ports, told instead of Ports; zero: Ports

	Addresses          string // host:port with {slot}, e.g. 127.0.1.{slot}:9092
	AdvertiseAddresses string // host:port with {slot}, told instead; "": Addresses
	Slots              Range  // the numbers that {slot} takes
}

// Range is an inclusive range of ports or slots. The zero Range is absent.
type Range struct{ First, Last int }

// Len is how many numbers r holds: 0 for the zero Range.
func (r Range) Len() int {
	if r == (Range{}) {
		return 0
	}
	return r.Last - r.First + 1
}
