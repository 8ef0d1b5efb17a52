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
//	doc      sentences for the schema and docs/configuration.md
//	default  the value of a key that is left out, as it would be written
//	example  a value for error messages; without it, the type's own
//	oneof    the values that a text may have, separated by |
//	min      the least value of a number or duration
//	schema   "required": an editor should miss it; Validate says so anyway
//	since    the version that brought the key; without it, 0.1.0
type fileConfig struct {
	StateDir  string                 `key:"state_dir" example:"/var/lib/kproxy" doc:"Directory that keeps each cluster's brokers across restarts. Default: they are kept in memory only."`
	Clusters  map[string]clusterKeys `key:"clusters" schema:"required" doc:"The Kafka clusters behind kproxy, by name."`
	Limits    limitKeys              `key:"limits" doc:"Limits for all clients together."`
	Drain     drainKeys              `key:"drain" doc:"How kproxy stops."`
	Reload    reloadKeys             `key:"reload" doc:"Files that kproxy reads again while it runs: this one, certificates, keys and CAs."`
	ReusePort bool                   `key:"reuse_port" since:"Unreleased" doc:"Bind each address so that a second kproxy of the same user, with the same key, can bind it too (SO_REUSEPORT), for supervisors that start the new process first. kproxy upgrade does not need it. Windows does not have it."`
	Admin     adminKeys              `key:"admin" doc:"The HTTP server for operators and orchestrators: /metrics, /livez, /readyz and /-/reload."`
	Telemetry telemetryKeys          `key:"telemetry" doc:"Where kproxy pushes its metrics."`
	Log       logKeys                `key:"log" doc:"The log on stderr."`
}

type clusterKeys struct {
	Bootstrap         []string                `key:"bootstrap" example:"[broker-1:9092, broker-2:9092]" doc:"Brokers that kproxy asks first, as host:port, in turn. Required."`
	UnknownAPIs       string                  `key:"unknown_apis" default:"hide" oneof:"hide|pass" doc:"Kafka APIs that this kproxy does not know, whose responses may hold addresses. hide: they are not in ApiVersions. pass: they are, and are forwarded."`
	Brokers           []string                `key:"brokers" example:"[\"*.internal:9092\"]" doc:"Globs on host:port. Of the addresses that brokers advertise, kproxy dials only those that match one. Default: all, except loopback, link-local, multicast and kproxy's own."`
	ForgetAfter       time.Duration           `key:"forget_after" default:"720h" min:"1m" doc:"How long an unseen broker keeps its port or slot when the range is full and another broker needs it."`
	Dial              []dialKeys              `key:"dial" doc:"Rules for the address at which kproxy dials a broker. The first rule that matches wins; rules apply to bootstrap addresses too."`
	ConnectTimeout    time.Duration           `key:"connect_timeout" default:"10s" min:"1ms" doc:"Longest wait for one connection to a broker, name resolution included. All attempts for one client take three times as long at most."`
	Keepalive         time.Duration           `key:"keepalive" default:"60s" min:"1s" doc:"Silence on a connection before TCP keep-alive probes start."`
	TLS               *upstreamTLSKeys        `key:"tls" example:"{ca: ca.pem}" doc:"TLS to the brokers; {} trusts the system's authorities. Default: plaintext."`
	SASL              saslKeys                `key:"sasl" doc:"kproxy's own login at the brokers, for all clients. Default: the client's login passes through."`
	Via               string                  `key:"via" example:"ssh://user@bastion.example.com" doc:"Reach the brokers through another machine, or a program: socks5://, http://, https:// or ssh:// with [user@]host:port, or exec:CMD {host} {port}. The brokers' names resolve at the far side."`
	ViaPasswordFile   string                  `key:"via_password_file" example:"via-password" doc:"File with the password of via's user."`
	ViaKeyFile        string                  `key:"via_key_file" example:"/home/me/.ssh/id_ed25519" doc:"SSH private key, or the public key of one that the SSH agent has. Default: the SSH agent's keys, unless there is a password."`
	ViaPassphraseFile string                  `key:"via_passphrase_file" example:"via-passphrase" doc:"File with the passphrase of via_key_file."`
	ViaKnownHosts     string                  `key:"via_known_hosts" example:"/home/me/.ssh/known_hosts" doc:"File with the keys of SSH hosts, in OpenSSH's format. ssh:// requires it."`
	Source            []string                `key:"source" example:"[10.0.0.7, 10.0.0.8]" doc:"Addresses of this machine to dial from, in turn, all of one family. With via, kproxy dials via's machine from them."`
	ProxyProtocol     string                  `key:"proxy_protocol" oneof:"v1|v2" doc:"Begin each connection to a broker with a PROXY protocol header that names the client. It is for a load balancer between kproxy and the brokers; Kafka does not accept it."`
	Listeners         map[string]listenerKeys `key:"listeners" schema:"required" doc:"The ways in, by name: one for each network that clients come from."`
}

type upstreamTLSKeys struct {
	CA                 string `key:"ca" example:"ca.pem" doc:"PEM file of the authorities that sign the brokers' certificates. Default: the system's."`
	Cert               string `key:"cert" example:"kproxy.pem" doc:"PEM file of kproxy's certificate and its intermediates, for brokers that ask for one."`
	Key                string `key:"key" example:"kproxy.key" doc:"PEM file of the private key of cert."`
	ServerName         string `key:"server_name" example:"kafka.internal" doc:"Name to send to every broker (SNI) and to verify in its certificate. Default: the name that each broker advertises, even if a dial rule changes the address."`
	MinVersion         string `key:"min_version" default:"1.2" oneof:"1.2|1.3" doc:"Oldest TLS version to accept."`
	InsecureSkipVerify bool   `key:"insecure_skip_verify" doc:"Accept any broker certificate. A machine on the way can then read and change everything."`
}

type saslKeys struct {
	Mechanism      string    `key:"mechanism" example:"SCRAM-SHA-512" doc:"PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM."`
	Username       string    `key:"username" example:"kproxy" doc:"User for PLAIN and SCRAM."`
	PasswordFile   string    `key:"password_file" example:"/run/secrets/kafka-password" doc:"File with the password, read at each login."`
	PasswordEnv    string    `key:"password_env" example:"KAFKA_PASSWORD" doc:"Name of the environment variable with the password, instead of password_file."`
	OAuth          oauthKeys `key:"oauth" doc:"Source of bearer tokens, for OAUTHBEARER."`
	AWS            awsKeys   `key:"aws" doc:"AWS credentials, for AWS_MSK_IAM."`
	AllowPlaintext bool      `key:"allow_plaintext" doc:"Send secrets also to brokers that are neither on loopback nor reached over TLS."`
}

type oauthKeys struct {
	TokenURL         string            `key:"token_url" example:"https://login.example.com/oauth2/token" doc:"Token endpoint, asked with client credentials."`
	ClientID         string            `key:"client_id" example:"kproxy" doc:"kproxy's client id at the token endpoint."`
	ClientSecretFile string            `key:"client_secret_file" example:"/run/secrets/client-secret" doc:"File with the client secret, read for each token request."`
	Scope            string            `key:"scope" example:"kafka" doc:"Scope to ask for; spaces separate several."`
	Extensions       map[string]string `key:"extensions" example:"{logicalCluster: lkc-1}" doc:"SASL extensions, sent with each token."`
	TokenFile        string            `key:"token_file" example:"/run/secrets/token" doc:"File with a token that another program renews, instead of token_url; read at each login."`
}

type awsKeys struct {
	Region  string `key:"region" example:"us-east-1" doc:"AWS region in which a role is assumed. The brokers' region comes from their names, or from AWS_REGION. Default: the environment's or the profile's."`
	Profile string `key:"profile" example:"production" doc:"Profile of the shared AWS configuration. Default: the default profile."`
	RoleARN string `key:"role_arn" example:"arn:aws:iam::111122223333:role/kproxy" doc:"Role to assume. Default: none."`

	SessionName string `key:"session_name" example:"kproxy" doc:"Session name of assumed roles, web identity included. It is part of kproxy's principal. Default: the environment's or the profile's, or kproxy."`
	ExternalID  string `key:"external_id" example:"kproxy-at-example" doc:"External id that the trust policy of role_arn asks for. Default: none."`
}

type dialKeys struct {
	Node  *int32 `key:"node" min:"0" example:"7" doc:"Id of the broker, instead of match."`
	Match string `key:"match" example:"*.internal:9092" doc:"Glob on host:port, case-insensitive; each * captures {1}, {2} and so on. Instead of node."`
	To    string `key:"to" schema:"required" example:"127.0.0.1:{19092+node}" doc:"host:port to dial, with {node} {host} {port} {1} and one sum such as {19092+node}."`
}

type listenerKeys struct {
	Bind      string    `key:"bind" example:"127.0.0.1:9092" doc:"host:port of the bootstrap endpoint. Required. With nodes.ports, the nodes' endpoints have the same host."`
	Advertise string    `key:"advertise" example:"localhost:9092" doc:"host:port that clients bootstrap from. With nodes.ports, the same host is advertised for the nodes. Default: bind, unless bind is a wildcard."`
	Nodes     nodesKeys `key:"nodes" doc:"An endpoint for each broker: by ports, addresses or sni. Required."`

	UnknownSNI string `key:"unknown_sni" default:"refuse" oneof:"refuse|bootstrap" doc:"With nodes.sni, a client that asks for another name, or for none. refuse: it is refused. bootstrap: it reaches the bootstrap endpoint."`

	TLS *listenerTLSKeys `key:"tls" example:"{certs: [{cert: edge.pem, key: edge.key}]}" doc:"TLS with the clients. Default: plaintext."`

	Allow []string `key:"allow" example:"[10.0.0.0/8, 192.168.1.7]" doc:"Networks and addresses that clients may come from. Default: all."`
	Deny  []string `key:"deny" example:"[10.66.0.0/16]" doc:"Networks and addresses that clients may not come from, even if allow has them."`

	Login loginKeys `key:"login" doc:"Users that clients log in as, at kproxy. Default: no login at kproxy."`

	APIs apiKeys `key:"apis" doc:"Kafka APIs that this listener's clients may use, by name."`

	ProxyProtocol proxyProtocolKeys `key:"proxy_protocol" doc:"Load balancers that name their clients by the PROXY protocol, v1 or v2."`

	Limits listenerLimitKeys `key:"limits" doc:"Limits for this listener's clients. At a limit the newest connection is closed at once."`
}

type listenerTLSKeys struct {
	Certs      []keyPairKeys `key:"certs" schema:"required" doc:"Certificates. A client gets the first that fits the name that it asks for (SNI); if none fits, the first of the list."`
	ClientCA   string        `key:"client_ca" example:"clients.pem" doc:"PEM file of the authorities that sign client certificates. Default: clients are not asked for a certificate."`
	ClientAuth string        `key:"client_auth" oneof:"required|requested" doc:"required: clients need a certificate. requested: they may come without one, and one that they show is verified. Default with client_ca: required."`
	Subjects   []string      `key:"subjects" example:"[\"CN=app-*,O=example\"]" doc:"Subjects of client certificates to admit: each attribute that is named must match, * stands for any text. Default: all that client_ca signs."`
	MinVersion string        `key:"min_version" default:"1.2" oneof:"1.2|1.3" doc:"Oldest TLS version to accept."`
	TicketKeys []string      `key:"ticket_keys" example:"[tickets.key]" doc:"Files of 32 or more random bytes, the same at every replica, so that replicas resume each other's TLS sessions. The first seals, all open. Default: keys of this process."`
}

type keyPairKeys struct {
	Cert string `key:"cert" schema:"required" example:"edge.pem" doc:"PEM file of the certificate and its intermediates."`
	Key  string `key:"key" schema:"required" example:"edge.key" doc:"PEM file of the private key."`
}

type loginKeys struct {
	Mechanisms []string `key:"mechanisms" example:"[SCRAM-SHA-512]" doc:"Mechanisms to offer to clients: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512."`
	UsersFile  string   `key:"users_file" example:"/etc/kproxy/users" doc:"File with a line for each user, as kproxy passwd prints it. kproxy reads it again when it changes."`
}

// proxyConfig is nil if the file has no login.
func (k *loginKeys) proxyConfig() *config.Login {
	if len(k.Mechanisms) == 0 && k.UsersFile == "" {
		return nil
	}
	return &config.Login{Mechanisms: k.Mechanisms, UsersFile: k.UsersFile}
}

type apiKeys struct {
	Preset string   `key:"preset" oneof:"read-only" doc:"read-only refuses requests that change the cluster or its data. Default: nothing is refused."`
	Allow  []string `key:"allow" example:"[CreateTopics]" doc:"APIs to allow in spite of preset."`
	Deny   []string `key:"deny" example:"[DeleteTopics, DeleteRecords]" doc:"APIs to refuse."`
}

type proxyProtocolKeys struct {
	From []string `key:"from" example:"[10.0.0.0/8]" doc:"Networks and addresses of the load balancers. Default: none, and no header is accepted."`
	Mode string   `key:"mode" default:"required" oneof:"required|optional" doc:"required: all connections come from load balancers. optional: clients may also connect directly, without a header."`
}

type listenerLimitKeys struct {
	MaxConnections int `key:"max_connections" default:"0" min:"0" example:"1000" doc:"Most clients of this listener at one time; 0: only limits.max_connections applies."`
	MaxPerSource   int `key:"max_per_source" default:"0" min:"0" example:"100" doc:"Most clients of this listener at one time with one IP address; 0: no limit."`
	AcceptRate     int `key:"accept_rate" default:"0" min:"0" example:"50" doc:"Most new clients in a second, and in one burst; 0: no limit."`
}

type nodesKeys struct {
	SNI                string        `key:"sni" example:"b{node}.kafka.example.com:443" doc:"One port for all brokers: the host:port to advertise for each, with {node} and optionally {cluster}. The TLS server name selects the broker. Listeners with the same bind share the port."`
	Ports              config.Range  `key:"ports" example:"9100-9199" doc:"One port for each broker: node n has the first port + n - first_node."`
	AdvertisePorts     config.Range  `key:"advertise_ports" example:"39100-39199" doc:"Ports to advertise instead of ports, as many of them."`
	FirstNode          int32         `key:"first_node" default:"0" min:"0" doc:"Broker id that has the first port or slot."`
	Pin                map[int32]int `key:"pin" example:"{1001: 9150}" doc:"Broker ids with a port of their own, or, with addresses, a slot."`
	Addresses          string        `key:"addresses" example:"127.0.1.{slot}:9092" doc:"One address for each broker: a host:port with {slot}."`
	AdvertiseAddresses string        `key:"advertise_addresses" example:"b{slot}.kafka.example.com:9092" doc:"host:port with {slot} to advertise instead of addresses."`
	Slots              config.Range  `key:"slots" example:"1-254" doc:"Numbers that {slot} takes."`
}

type limitKeys struct {
	MaxConnections             int           `key:"max_connections" default:"0" min:"0" example:"5000" doc:"Most clients at one time; each costs two file descriptors. 0: as many as the file limit (ulimit -n) allows."`
	MaxRequestBytes            int           `key:"max_request_bytes" default:"104857600" min:"1024" doc:"Largest request that is forwarded; a larger one closes the connection."`
	MaxRequestBytesBeforeLogin int           `key:"max_request_bytes_before_login" default:"524288" min:"1024" doc:"The same for a client that has not logged in, at a listener with login."`
	FirstRequestTimeout        time.Duration `key:"first_request_timeout" default:"30s" min:"1ms" doc:"Longest wait for a client's first request header."`
	HandshakeTimeout           time.Duration `key:"handshake_timeout" default:"10s" min:"1ms" doc:"Longest wait for a client's TLS handshake."`
	MaxHandshakes              int           `key:"max_handshakes" default:"0" min:"0" example:"4" doc:"Most TLS handshakes in progress at one time, without those that wait for their client. 0: one for each processor but one, at least one."`
	MaxHeldBytes               int           `key:"max_held_bytes" default:"0" min:"0" example:"268435456" doc:"Most bytes held for all clients together, beside 16 KiB for each direction of a connection. 0: a quarter of the memory limit."`
	IdleTimeout                time.Duration `key:"idle_timeout" default:"0s" min:"0s" example:"10m" doc:"Longest silence of a connection that is owed no response; 0s: no limit."`
	MaxAge                     time.Duration `key:"max_age" default:"0s" min:"0s" example:"1h" doc:"Greatest age of a connection, which then ends between two requests; 0s: no limit."`
	MaxAgeJitter               float64       `key:"max_age_jitter" default:"0.1" doc:"Part of max_age, below 1, by which a connection may end earlier, at random, so that not all end at once."`
}

type drainKeys struct {
	Delay   time.Duration `key:"delay" default:"0s" min:"0s" example:"15s" doc:"After SIGTERM, /readyz says not ready for this time while kproxy still accepts connections, so that load balancers can send clients elsewhere."`
	Timeout time.Duration `key:"timeout" default:"60s" min:"1ms" doc:"Longest wait for responses in flight when kproxy stops."`
}

type reloadKeys struct {
	Watch bool `key:"watch" default:"true" doc:"Apply this file when it has changed, and use certificates, keys and CAs that have changed, for new connections, once they are valid and settled. false: only after a SIGHUP or kproxy reload."`
}

type adminKeys struct {
	Bind      string       `key:"bind" example:"127.0.0.1:9400" doc:"host:port of the admin server. Default: no admin server."`
	Hosts     []string     `key:"hosts" example:"[kproxy.example.com]" doc:"Names under which the admin server responds, beside IP addresses, localhost and the host of bind. /livez, /readyz and /metrics respond under every name."`
	TokenFile string       `key:"token_file" example:"/run/secrets/admin-token" doc:"File with the token that everything but statuses requires (Authorization: Bearer); read at each request. POST /-/reload requires it if other machines reach bind. Default: no token."`
	TLS       adminTLSKeys `key:"tls" doc:"HTTPS. Default: HTTP."`
	Pprof     bool         `key:"pprof" doc:"Serve Go's profiles at /debug/pprof/. It requires token_file if other machines reach bind."`
	Ready     string       `key:"ready" default:"any" oneof:"any|all" doc:"any: /readyz says ready once any cluster has responded, also if it is lost later. all: only while all clusters respond."`
}

type adminTLSKeys struct {
	Cert string `key:"cert" example:"admin.pem" doc:"PEM file of the server's certificate and its intermediates."`
	Key  string `key:"key" example:"admin.key" doc:"PEM file of the private key of cert."`
}

type telemetryKeys struct {
	OTLP otlpKeys `key:"otlp" doc:"An OpenTelemetry collector to push metrics to."`
}

type otlpKeys struct {
	Endpoint    string        `key:"endpoint" example:"collector.example.com:4317" doc:"host:port of the collector, or a whole URL with http/protobuf. Default: nothing is pushed."`
	Protocol    string        `key:"protocol" default:"grpc" oneof:"grpc|http/protobuf" doc:"Protocol of the collector."`
	HeadersFile string        `key:"headers_file" example:"otlp-headers" doc:"File with lines NAME: VALUE, sent with each push, such as an Authorization."`
	CA          string        `key:"ca" example:"ca.pem" doc:"PEM file of the authorities that sign the collector's certificate. Default: the system's."`
	Insecure    bool          `key:"insecure" doc:"Push without TLS."`
	Interval    time.Duration `key:"interval" default:"30s" min:"1s" doc:"Time between pushes."`
}

type logKeys struct {
	Level  string `key:"level" default:"info" oneof:"debug|info|warn|error" doc:"Least severe lines that are written."`
	Format string `key:"format" default:"text" oneof:"text|json" doc:"text: one line for each event, on stderr, and the table of addresses at the start on stdout. json: one JSON object for each event, also for each line of the table and for the reason why kproxy does not start, and nothing on stdout; mistakes of the file are JSON where the environment sets the format."`
}

// adminConfig is the admin server's part of the file.
func (f *fileConfig) adminConfig() admin.Config {
	c := admin.Config{
		Bind:      f.Admin.Bind,
		Hosts:     f.Admin.Hosts,
		ReusePort: f.ReusePort,
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

// proxyConfig is the proxy's part of the file. Clusters and listeners are
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
		ReusePort:                  f.ReusePort,
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

// proxyConfig is nil if the file has no sasl.
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
