// Package logkey is the one list of keys that kproxy's log lines carry, so
// that a search for one key finds every line about it. The linter (sloglint)
// refuses a raw string as a key.
package logkey

// The keys of log lines.
const (
	Address       = "address"        // host:port of the line's subject
	Advertised    = "advertised"     // host:port that clients are given
	APIKey        = "api_key"        // name of a Kafka API
	APIVersion    = "api_version"    // version of a request
	Attempt       = "attempt"        // count of tries so far
	Bind          = "bind"           // host:port that kproxy listens on
	Bootstrap     = "bootstrap"      // host:port that clients bootstrap from
	By            = "by"             // cause of a reload or a hand-over: signal, admin or file
	BytesDown     = "bytes_down"     // bytes, broker to client
	BytesUp       = "bytes_up"       // bytes, client to broker
	Cgroup        = "cgroup"         // bytes of memory that the cgroup may use
	Changes       = "changes"        // count of differences between two configurations
	Client        = "client"         // the client's remote host:port
	ClientID      = "client_id"      // the client's own name, from its first request
	Cluster       = "cluster"        // cluster by its configured name
	Connections   = "connections"    // count of clients' connections
	CorrelationID = "correlation_id" // of a request or a response
	Delay         = "delay"          // how long something waits
	Dropped       = "dropped"        // brokers left out of a response
	LogLevel      = "log_level"      // a level of the log itself
	Duration      = "duration"       // how long it took
	Error         = "error"          // the error
	Expires       = "expires"        // when a certificate ends
	File          = "file"           // path of a file
	Fix           = "fix"            // advice for the reader
	Files         = "files"          // how many files the process may have open
	FramesDown    = "frames_down"    // of responses, broker to client
	FramesUp      = "frames_up"      // requests, client to broker
	From          = "from"           // host:port of a client of the admin server
	Generation    = "generation"     // of the configuration in use
	Idle          = "idle"           // time without activity
	LeftOut       = "left_out"       // count of log lines that were left out
	Line          = "line"           // a command's output
	Limit         = "limit"          // the key of a limit in the configuration
	Listener      = "listener"       // listener by its configured name
	Max           = "max"            // the value of a limit
	Node          = "node"           // broker id
	Nodes         = "nodes"          // count of brokers
	Owed          = "owed"           // requests without a response
	PID           = "pid"            // a process
	Reason        = "reason"         // proxy.CloseReason
	Refused       = "refused"        // count of connections refused at a limit
	ServerName    = "server_name"    // that the client asked for in TLS (SNI)
	Sessions      = "sessions"       // count of live sessions
	Sockets       = "sockets"        // count of listening sockets
	Source        = "source"         // IP address that clients come from
	Subject       = "subject"        // of a certificate
	TLVs          = "tlvs"           // the other fields of a PROXY protocol header
	Upstream      = "upstream"       // host:port dialled
	User          = "user"           // the user that a client has logged in as, at kproxy
	Via           = "via"            // the via through which brokers are reached
	Version       = "version"        // kproxy's own version
)
