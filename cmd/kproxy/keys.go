package main

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"kproxy/internal/admin"
	"kproxy/proxy/config"
)

// The types below are the configuration file, and the one list of its keys. The
// decoder, the check for unknown keys, the environment variables and the JSON
// schema all read it, so a new key is one field here and one line in its
// proxyConfig. The tags:
//
//	key      the name in the file
//	doc      a sentence for the schema
//	default  the value of a key that is left out, as it would be written
//	example  a value for error messages; without it, the type's own
//	oneof    the values that a text may have, separated by |
//	min      the least value of a number or duration
//	schema   "required": an editor should miss it; Validate says so anyway
type fileConfig struct {
	StateDir  string                 `key:"state_dir" example:"/var/lib/kproxy" doc:"Directory in which each cluster's brokers are remembered across restarts. Left out: in memory only."`
	Clusters  map[string]clusterKeys `key:"clusters" schema:"required" doc:"The Kafka clusters behind kproxy, by name."`
	Limits    limitKeys              `key:"limits" doc:"What clients may ask of kproxy."`
	Drain     drainKeys              `key:"drain" doc:"How kproxy stops."`
	Reload    reloadKeys             `key:"reload" doc:"What kproxy reads again while it runs."`
	Admin     adminKeys              `key:"admin" doc:"What operators and orchestrators ask kproxy: /metrics, /livez and /readyz over HTTP."`
	Telemetry telemetryKeys          `key:"telemetry" doc:"Where kproxy sends what it counts."`
	Log       logKeys                `key:"log" doc:"What kproxy says on stderr."`
}

type clusterKeys struct {
	Bootstrap         []string                `key:"bootstrap" example:"[broker-1:9092, broker-2:9092]" doc:"Brokers to ask first, host:port, tried in turn."`
	UnknownAPIs       string                  `key:"unknown_apis" default:"hide" oneof:"hide|pass" doc:"Kafka APIs that this kproxy has never heard of, and whose answers may hold addresses: hidden from clients, or shown and forwarded."`
	Brokers           []string                `key:"brokers" example:"[\"*.internal:9092\"]" doc:"Globs on host:port: the addresses that may be dialled of those that brokers advertise. Left out: all, but for loopback, link-local, multicast and kproxy's own."`
	ForgetAfter       time.Duration           `key:"forget_after" default:"720h" min:"1m" doc:"How long a broker keeps its port or slot unseen when the range is full and another needs it."`
	Dial              []dialKeys              `key:"dial" doc:"Where brokers are really reached; the first rule that matches decides, for bootstrap addresses too."`
	ConnectTimeout    time.Duration           `key:"connect_timeout" default:"10s" min:"1ms" doc:"Longest wait for one connection to a broker, name resolution included."`
	Keepalive         time.Duration           `key:"keepalive" default:"60s" min:"1s" doc:"Silence on a connection before TCP keep-alive probes start."`
	TLS               *upstreamTLSKeys        `key:"tls" example:"{ca: ca.pem}" doc:"Speak TLS to the brokers; {} trusts the system's authorities. Left out: plaintext."`
	SASL              saslKeys                `key:"sasl" doc:"How kproxy logs in at the brokers for its clients. Left out: a client's own login passes through."`
	Via               string                  `key:"via" example:"ssh://user@bastion.example.com" doc:"Reach the brokers through another machine, or a program: socks5://, http://, https:// or ssh:// with [user@]host:port, or exec:CMD {host} {port}. Their names resolve at its far side."`
	ViaPasswordFile   string                  `key:"via_password_file" example:"via-password" doc:"A file with the password of via's user."`
	ViaKeyFile        string                  `key:"via_key_file" example:"/home/me/.ssh/id_ed25519" doc:"A private key for ssh, or the public key of one that the SSH agent has. Left out: the SSH agent's, unless there is a password."`
	ViaPassphraseFile string                  `key:"via_passphrase_file" example:"via-passphrase" doc:"A file with the passphrase of via_key_file."`
	ViaKnownHosts     string                  `key:"via_known_hosts" example:"/home/me/.ssh/known_hosts" doc:"A file with the keys of ssh hosts, as OpenSSH keeps it; required for ssh."`
	Source            []string                `key:"source" example:"[10.0.0.7, 10.0.0.8]" doc:"Addresses of this machine to dial from, in turn, all of one family; with via, to dial its machine from."`
	ProxyProtocol     string                  `key:"proxy_protocol" oneof:"v1|v2" doc:"Begin each connection to a broker with a PROXY protocol header that names the client: for a load balancer in front of the brokers that wants one. Kafka itself does not take it."`
	Listeners         map[string]listenerKeys `key:"listeners" schema:"required" doc:"The ways in, by name: one for each network that clients come from."`
}

type upstreamTLSKeys struct {
	CA                 string `key:"ca" example:"ca.pem" doc:"A file of certificates (PEM) that sign the brokers'. Left out: the system's."`
	Cert               string `key:"cert" example:"kproxy.pem" doc:"A file (PEM) with the certificate that brokers are shown when they ask for one, and its intermediates."`
	Key                string `key:"key" example:"kproxy.key" doc:"A file (PEM) with the private key of cert."`
	ServerName         string `key:"server_name" example:"kafka.internal" doc:"The name that is asked of every broker and looked for in its certificate. Left out: the one that each broker advertises, also where a dial rule leads elsewhere."`
	MinVersion         string `key:"min_version" default:"1.2" oneof:"1.2|1.3" doc:"The oldest TLS version that is spoken."`
	InsecureSkipVerify bool   `key:"insecure_skip_verify" doc:"Accept any certificate as a broker's: a machine between can read and change everything."`
}

type saslKeys struct {
	Mechanism      string    `key:"mechanism" example:"SCRAM-SHA-512" doc:"PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM."`
	Username       string    `key:"username" example:"kproxy" doc:"The user, for PLAIN and SCRAM."`
	PasswordFile   string    `key:"password_file" example:"/run/secrets/kafka-password" doc:"A file that holds the user's password; it is read at each login."`
	PasswordEnv    string    `key:"password_env" example:"KAFKA_PASSWORD" doc:"The name of an environment variable that holds the password, instead of password_file."`
	OAuth          oauthKeys `key:"oauth" doc:"Where bearer tokens come from, for OAUTHBEARER."`
	AWS            awsKeys   `key:"aws" doc:"Which AWS credentials are used, for AWS_MSK_IAM."`
	AllowPlaintext bool      `key:"allow_plaintext" doc:"Send secrets also to brokers that are neither on loopback nor reached over TLS."`
}

type oauthKeys struct {
	TokenURL         string            `key:"token_url" example:"https://login.example.com/oauth2/token" doc:"The token endpoint, which is asked with client credentials."`
	ClientID         string            `key:"client_id" example:"kproxy" doc:"Who kproxy is to the token endpoint."`
	ClientSecretFile string            `key:"client_secret_file" example:"/run/secrets/client-secret" doc:"A file that holds the client's secret; it is read each time a token is asked for."`
	Scope            string            `key:"scope" example:"kafka" doc:"The scope to ask for; several are parted by spaces."`
	Extensions       map[string]string `key:"extensions" example:"{logicalCluster: lkc-1}" doc:"SASL extensions, sent with each token."`
	TokenFile        string            `key:"token_file" example:"/run/secrets/token" doc:"A file that holds a token and is kept fresh by somebody else, instead of token_url; it is read at each login."`
}

type awsKeys struct {
	Region  string `key:"region" example:"us-east-1" doc:"Where AWS itself is asked, to assume a role. The region of the brokers is that in their names, or AWS_REGION. Left out: what the environment and the profile say."`
	Profile string `key:"profile" example:"production" doc:"A profile of the shared AWS configuration. Left out: the default."`
	RoleARN string `key:"role_arn" example:"arn:aws:iam::111122223333:role/kproxy" doc:"A role to assume. Left out: none."`

	SessionName string `key:"session_name" example:"kproxy" doc:"The session name of assumed roles, web identity included, which is part of kproxy's principal. Left out: what the environment and the profile say, or kproxy."`
	ExternalID  string `key:"external_id" example:"kproxy-at-example" doc:"The external id that the trust policy of role_arn asks for. Left out: none."`
}

type dialKeys struct {
	Node  *int32 `key:"node" min:"0" example:"7" doc:"The broker with this id; instead of match."`
	Match string `key:"match" example:"*.internal:9092" doc:"A glob on host:port, without regard to case; each * captures {1}, {2} and so on. Instead of node."`
	To    string `key:"to" schema:"required" example:"127.0.0.1:{19092+node}" doc:"The host:port to dial, with {node} {host} {port} {1} and one sum such as {19092+node}."`
}

type listenerKeys struct {
	Bind      string    `key:"bind" example:"127.0.0.1:9092" doc:"The host:port where the bootstrap endpoint listens; its host is also the nodes', with nodes.ports."`
	Advertise string    `key:"advertise" example:"localhost:9092" doc:"The host:port that clients bootstrap from; its host is also what they are told for nodes, with nodes.ports. Left out: bind, which then may not be a wildcard."`
	Nodes     nodesKeys `key:"nodes" doc:"An endpoint for each broker: either ports or addresses."`

	UnknownSNI string `key:"unknown_sni" default:"refuse" oneof:"refuse|bootstrap" doc:"With nodes.sni, clients that ask for another name, or none: refused, or led to the bootstrap endpoint."`

	TLS *listenerTLSKeys `key:"tls" example:"{certs: [{cert: edge.pem, key: edge.key}]}" doc:"Speak TLS with the clients. Left out: plaintext."`

	Allow []string `key:"allow" example:"[10.0.0.0/8, 192.168.1.7]" doc:"Networks and addresses that clients may come from. Left out: all."`
	Deny  []string `key:"deny" example:"[10.66.0.0/16]" doc:"Networks and addresses that clients may not come from, also where allow has them."`

	Login loginKeys `key:"login" doc:"Users that clients have to log in as, at kproxy itself. Left out: clients need not."`

	APIs apiKeys `key:"apis" doc:"Which Kafka APIs this listener's clients may use, by name."`

	ProxyProtocol proxyProtocolKeys `key:"proxy_protocol" doc:"Load balancers that name their clients by the PROXY protocol, v1 or v2."`

	Limits listenerLimitKeys `key:"limits" doc:"What this listener's clients may take of kproxy. At a limit the newest connection is closed at once."`
}

type listenerTLSKeys struct {
	Certs      []keyPairKeys `key:"certs" schema:"required" doc:"Certificates, of which a client is shown the first that fits the name that it asks for (SNI); where none does, the first."`
	ClientCA   string        `key:"client_ca" example:"clients.pem" doc:"A file of certificates (PEM) that sign the clients'. Left out: clients are not asked for one."`
	ClientAuth string        `key:"client_auth" oneof:"required|requested" doc:"Whether a client may also come without a certificate; one that it shows is verified. With client_ca, required unless requested is written."`
	Subjects   []string      `key:"subjects" example:"[\"CN=app-*,O=example\"]" doc:"The subjects of the certificates that are let in: each attribute that is named has to fit, * stands for any text. Left out: all that client_ca signs."`
	MinVersion string        `key:"min_version" default:"1.2" oneof:"1.2|1.3" doc:"The oldest TLS version that is spoken."`
	TicketKeys []string      `key:"ticket_keys" example:"[tickets.key]" doc:"Files of 32 or more random bytes, the same at every replica, so that they resume each other's TLS sessions; the first seals, all open. Left out: keys of this process's own."`
}

type keyPairKeys struct {
	Cert string `key:"cert" schema:"required" example:"edge.pem" doc:"A file (PEM) with the certificate and its intermediates."`
	Key  string `key:"key" schema:"required" example:"edge.key" doc:"A file (PEM) with the private key."`
}

type loginKeys struct {
	Mechanisms []string `key:"mechanisms" example:"[SCRAM-SHA-512]" doc:"How clients may log in: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512."`
	UsersFile  string   `key:"users_file" example:"/etc/kproxy/users" doc:"A file with a line for each user, as kproxy passwd makes it; it is read again when it changes."`
}

// proxyConfig is nil where the file has no login.
func (k *loginKeys) proxyConfig() *config.Login {
	if len(k.Mechanisms) == 0 && k.UsersFile == "" {
		return nil
	}
	return &config.Login{Mechanisms: k.Mechanisms, UsersFile: k.UsersFile}
}

type apiKeys struct {
	Preset string   `key:"preset" oneof:"read-only" doc:"read-only refuses what changes the cluster or its data. Left out: nothing is refused."`
	Allow  []string `key:"allow" example:"[CreateTopics]" doc:"APIs that are allowed all the same."`
	Deny   []string `key:"deny" example:"[DeleteTopics, DeleteRecords]" doc:"APIs that are refused."`
}

type proxyProtocolKeys struct {
	From []string `key:"from" example:"[10.0.0.0/8]" doc:"Networks and addresses of the load balancers. Left out: none, and no header is taken."`
	Mode string   `key:"mode" default:"required" oneof:"required|optional" doc:"Whether clients may also come by themselves, without a header."`
}

type listenerLimitKeys struct {
	MaxConnections int `key:"max_connections" default:"0" min:"0" example:"1000" doc:"Most clients of this listener at one time; 0: limits.max_connections alone."`
	MaxPerSource   int `key:"max_per_source" default:"0" min:"0" example:"100" doc:"Most clients of this listener at one time with one IP address; 0: any number."`
	AcceptRate     int `key:"accept_rate" default:"0" min:"0" example:"50" doc:"Most new clients in a second, and in one burst; 0: any number."`
}

type nodesKeys struct {
	SNI                string        `key:"sni" example:"b{node}.kafka.example.com:443" doc:"One port for all brokers: the host:port that clients are told for each, with {node} and maybe {cluster}; in TLS the name tells them apart. Listeners with one bind share it."`
	Ports              config.Range  `key:"ports" example:"9100-9199" doc:"One port for each broker: node n has the first port + n - first_node."`
	AdvertisePorts     config.Range  `key:"advertise_ports" example:"39100-39199" doc:"As many ports, which clients are told instead of ports."`
	FirstNode          int32         `key:"first_node" default:"0" min:"0" doc:"The broker id that has the first port or slot."`
	Pin                map[int32]int `key:"pin" example:"{1001: 9150}" doc:"Single broker ids and their port, or their slot with addresses."`
	Addresses          string        `key:"addresses" example:"127.0.1.{slot}:9092" doc:"One address for each broker, a host:port with {slot}."`
	AdvertiseAddresses string        `key:"advertise_addresses" example:"b{slot}.kafka.example.com:9092" doc:"A host:port with {slot}, which clients are told instead of addresses."`
	Slots              config.Range  `key:"slots" example:"1-254" doc:"The numbers that {slot} takes."`
}

type limitKeys struct {
	MaxConnections             int           `key:"max_connections" default:"0" min:"0" example:"5000" doc:"Most clients at one time, each of which costs two file descriptors; 0: as many as the file limit (ulimit -n) allows."`
	MaxRequestBytes            int           `key:"max_request_bytes" default:"104857600" min:"1024" doc:"Largest request that is forwarded; a larger one closes the connection."`
	MaxRequestBytesBeforeLogin int           `key:"max_request_bytes_before_login" default:"524288" min:"1024" doc:"The same for a client that has not logged in, where a listener has login."`
	FirstRequestTimeout        time.Duration `key:"first_request_timeout" default:"30s" min:"1ms" doc:"Longest wait for a client's first request header."`
	HandshakeTimeout           time.Duration `key:"handshake_timeout" default:"10s" min:"1ms" doc:"Longest wait for a client's TLS handshake."`
	MaxHandshakes              int           `key:"max_handshakes" default:"0" min:"0" example:"4" doc:"Most TLS handshakes that are worked on at one time, those not counted that wait for their client; 0: one for each processor but one, at least one."`
	MaxHeldBytes               int           `key:"max_held_bytes" default:"0" min:"0" example:"268435456" doc:"Most bytes that are held for all clients together, beside 16 KiB for each direction of a connection; 0: a quarter of the memory limit."`
	IdleTimeout                time.Duration `key:"idle_timeout" default:"0s" min:"0s" example:"10m" doc:"Longest silence of a connection that is owed no answer; 0s: any."`
	MaxAge                     time.Duration `key:"max_age" default:"0s" min:"0s" example:"1h" doc:"Greatest age of a connection, which is then ended between two requests; 0s: any."`
	MaxAgeJitter               float64       `key:"max_age_jitter" default:"0.1" doc:"The part of max_age, below 1, by which a connection may be ended earlier, at random, so that not all end at once."`
}

type drainKeys struct {
	Delay   time.Duration `key:"delay" default:"0s" min:"0s" example:"15s" doc:"How long kproxy, told to stop, says that it is not ready and still accepts connections, so that load balancers can send clients elsewhere."`
	Timeout time.Duration `key:"timeout" default:"60s" min:"1ms" doc:"Longest wait, when kproxy stops, for answers that clients are owed."`
}

type reloadKeys struct {
	Watch bool `key:"watch" default:"true" doc:"Use certificates, keys and CAs that have changed, for new connections, once they are good and settled. False: those of the start, until a SIGHUP."`
}

type adminKeys struct {
	Bind      string       `key:"bind" example:"127.0.0.1:9400" doc:"The host:port where the admin server listens. Left out: there is none."`
	Hosts     []string     `key:"hosts" example:"[kproxy.example.com]" doc:"Names under which the admin server may be asked, beside IP addresses, localhost and the host of bind. /livez, /readyz and /metrics are served under every name."`
	TokenFile string       `key:"token_file" example:"/run/secrets/admin-token" doc:"A file with the token that everything but statuses asks for (Authorization: Bearer); it is read at each request. Left out: nobody is asked."`
	TLS       adminTLSKeys `key:"tls" doc:"Serve HTTPS. Left out: HTTP."`
	Pprof     bool         `key:"pprof" doc:"Serve Go's profiles at /debug/pprof/. Where others than this machine reach bind, it takes token_file."`
	Ready     string       `key:"ready" default:"any" oneof:"any|all" doc:"When /readyz says ready: once any cluster has answered, also if it is lost later, or while all clusters answer."`
}

type adminTLSKeys struct {
	Cert string `key:"cert" example:"admin.pem" doc:"A file (PEM) with the server's certificate, and its intermediates."`
	Key  string `key:"key" example:"admin.key" doc:"A file (PEM) with the private key of cert."`
}

type telemetryKeys struct {
	OTLP otlpKeys `key:"otlp" doc:"An OpenTelemetry collector that metrics are pushed to."`
}

type otlpKeys struct {
	Endpoint    string        `key:"endpoint" example:"collector.example.com:4317" doc:"The collector's host:port, or, with http/protobuf, a whole URL. Left out: nothing is pushed."`
	Protocol    string        `key:"protocol" default:"grpc" oneof:"grpc|http/protobuf" doc:"How the collector is spoken to."`
	HeadersFile string        `key:"headers_file" example:"otlp-headers" doc:"A file with lines of name: value, sent with each push, such as an Authorization."`
	CA          string        `key:"ca" example:"ca.pem" doc:"A file of certificates (PEM) that sign the collector's. Left out: the system's."`
	Insecure    bool          `key:"insecure" doc:"Speak to the collector without TLS."`
	Interval    time.Duration `key:"interval" default:"30s" min:"1s" doc:"Time between pushes."`
}

type logKeys struct {
	Level  string `key:"level" default:"info" oneof:"debug|info|warn|error" doc:"The least important lines that are written."`
	Format string `key:"format" default:"text" oneof:"text|json" doc:"One line of text, or one JSON object, for each."`
}

// adminConfig is what the admin server is told of the file.
func (f *fileConfig) adminConfig() admin.Config {
	c := admin.Config{
		Bind:      f.Admin.Bind,
		Hosts:     f.Admin.Hosts,
		TokenFile: f.Admin.TokenFile,
		Cert:      f.Admin.TLS.Cert,
		Key:       f.Admin.TLS.Key,
		Pprof:     f.Admin.Pprof,
	}
	if f.Reload.Watch {
		c.WatchInterval = config.DefaultWatchInterval
	}
	return c
}

// proxyConfig is what the proxy is told of the file. Clusters and listeners are
// in the order of their names, so that every run numbers and reports them alike.
func (f *fileConfig) proxyConfig() config.Config {
	c := config.Config{
		StateDir:                   f.StateDir,
		MaxRequestBytes:            f.Limits.MaxRequestBytes,
		MaxRequestBytesBeforeLogin: f.Limits.MaxRequestBytesBeforeLogin,
		FirstRequestTimeout:        f.Limits.FirstRequestTimeout,
		HandshakeTimeout:           f.Limits.HandshakeTimeout,
		MaxHandshakes:              f.Limits.MaxHandshakes,
		MaxHeldBytes:               int64(f.Limits.MaxHeldBytes),
		DrainTimeout:               f.Drain.Timeout,
		AdminBind:                  f.Admin.Bind,
		MaxConnections:             f.Limits.MaxConnections,
		IdleTimeout:                f.Limits.IdleTimeout,
		MaxAge:                     f.Limits.MaxAge,
		MaxAgeJitter:               f.Limits.MaxAgeJitter,
		Parts:                      parts(),
	}
	if !f.Reload.Watch {
		c.WatchInterval = -1
	}
	for _, name := range slices.Sorted(maps.Keys(f.Clusters)) {
		cluster := f.Clusters[name]
		c.Clusters = append(c.Clusters, cluster.proxyConfig(name))
	}
	return c
}

func (c *clusterKeys) proxyConfig(name string) config.Cluster {
	cluster := config.Cluster{
		Name:           name,
		Bootstrap:      c.Bootstrap,
		UnknownAPIs:    config.UnknownAPIs(c.UnknownAPIs),
		SASL:           c.SASL.proxyConfig(),
		ProxyProtocol:  config.HeaderVersion(c.ProxyProtocol),
		Brokers:        c.Brokers,
		ForgetAfter:    c.ForgetAfter,
		ConnectTimeout: c.ConnectTimeout,
		Keepalive:      c.Keepalive,
		TLS:            (*config.UpstreamTLS)(c.TLS),
		Via: config.Via{
			URL: c.Via, PasswordFile: c.ViaPasswordFile,
			KeyFile: c.ViaKeyFile, PassphraseFile: c.ViaPassphraseFile, KnownHosts: c.ViaKnownHosts,
		},
		Source: c.Source,
	}
	for _, rule := range c.Dial {
		cluster.Dial = append(cluster.Dial, config.DialRule(rule))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Listeners)) {
		l := c.Listeners[name]
		cluster.Listeners = append(cluster.Listeners, config.Listener{
			Name:      name,
			Bind:      l.Bind,
			Advertise: l.Advertise,
			Nodes: config.Nodes{
				SNI:                l.Nodes.SNI,
				FirstNode:          l.Nodes.FirstNode,
				Pin:                l.Nodes.Pin,
				Ports:              l.Nodes.Ports,
				AdvertisePorts:     l.Nodes.AdvertisePorts,
				Addresses:          l.Nodes.Addresses,
				AdvertiseAddresses: l.Nodes.AdvertiseAddresses,
				Slots:              l.Nodes.Slots,
			},
			UnknownSNI: config.UnknownSNI(l.UnknownSNI),

			TLS:   l.TLS.proxyConfig(),
			Allow: l.Allow, Deny: l.Deny,
			Login:         l.Login.proxyConfig(),
			APIs:          config.APIs{Preset: config.APIPreset(l.APIs.Preset), Allow: l.APIs.Allow, Deny: l.APIs.Deny},
			ProxyProtocol: config.LoadBalancers{From: l.ProxyProtocol.From, Mode: config.HeaderMode(l.ProxyProtocol.Mode)},
			Limits:        config.ListenerLimits(l.Limits),
		})
	}
	return cluster
}

func (k *listenerTLSKeys) proxyConfig() *config.ListenerTLS {
	if k == nil {
		return nil
	}
	c := &config.ListenerTLS{
		ClientCA:   k.ClientCA,
		ClientAuth: k.ClientAuth,
		Subjects:   k.Subjects,
		MinVersion: k.MinVersion,
		TicketKeys: k.TicketKeys,
	}
	for _, pair := range k.Certs {
		c.Certs = append(c.Certs, config.KeyPair(pair))
	}
	return c
}

// proxyConfig is nil where the file has no sasl.
func (k *saslKeys) proxyConfig() *config.SASL {
	if reflect.ValueOf(k).Elem().IsZero() {
		return nil
	}
	return &config.SASL{
		Mechanism: k.Mechanism,
		Username:  k.Username,
		Password:  config.Secret{File: k.PasswordFile, Env: k.PasswordEnv},
		OAuth: config.OAuth{
			TokenURL:     k.OAuth.TokenURL,
			ClientID:     k.OAuth.ClientID,
			ClientSecret: config.Secret{File: k.OAuth.ClientSecretFile},
			Scope:        k.OAuth.Scope,
			TokenFile:    k.OAuth.TokenFile,
			Extensions:   k.OAuth.Extensions,
		},
		AWS:            config.AWS(k.AWS),
		AllowPlaintext: k.AllowPlaintext,
	}
}
