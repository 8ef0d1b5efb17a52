package proxy

import "log/slog"

// traits are the properties of a CloseReason: how loud its log line is, and how the client's
// connection ends.
//
// The table is for the end of an open session. Resets elsewhere: a connection that is refused
// at a limit (listener.refuse), a broker at which kproxy cannot log in, unless it refuses the
// credentials (arrival.turnAway), a session that held_bytes ends (session.evicted), and a peer
// that is gone (session.peerGone).
type traits struct {
	level slog.Level // of the log line about the session's end
	// reset says when the client's connection ends by a reset. Before the first response,
	// clients treat a FIN as a failed login: franz-go fails its buffered records, and a
	// group keeps its coordinator. They treat a reset as a broker that is down, and retry.
	reset resetWhen
	// linger has kproxy end its side, and wait until the client has ended its own. Closing
	// while the client still sends would reset the connection, and the client could lose
	// the last response.
	linger bool
	asked  bool // kproxy itself chose to end the session, between two requests
}

// resetWhen says in which case a reason means that the broker is down, or the way to it.
type resetWhen uint8

const (
	resetNever            resetWhen = iota
	resetAlways                     // no broker was reached
	resetUnheard                    // if the client has had no response
	resetBeforeLogin                // if no login has passed through: a broker that refuses a login ends so, too
	resetUnheardByCommand           // as resetUnheard, where a command is the way: nc ends well when the broker resets
)

// traitsOf has every CloseReason; a test holds it.
var traitsOf = map[CloseReason]traits{
	NoRequest:             {level: slog.LevelDebug},
	ClientClosed:          {level: slog.LevelInfo},
	ClientReset:           {level: slog.LevelInfo},
	BrokerClosed:          {level: slog.LevelInfo, reset: resetUnheardByCommand, linger: true},
	BrokerReset:           {level: slog.LevelWarn, reset: resetUnheard, linger: true},
	DialFailed:            {level: slog.LevelWarn, reset: resetAlways},
	BrokerRefusedTLS:      {level: slog.LevelWarn, reset: resetAlways},
	DialRefused:           {level: slog.LevelWarn},
	BrokerLogin:           {level: slog.LevelWarn, linger: true},
	ClientLogin:           {level: slog.LevelWarn, linger: true},
	TooManyLogins:         {level: slog.LevelWarn, reset: resetAlways},
	FirstRequestTimeout:   {level: slog.LevelWarn},
	ForeignProtocol:       {level: slog.LevelWarn},
	TLSPlaintext:          {level: slog.LevelWarn},
	TLSCertificateRefused: {level: slog.LevelWarn},
	TLSNoCertificate:      {level: slog.LevelWarn},
	TLSUntrusted:          {level: slog.LevelWarn},
	TLSExpired:            {level: slog.LevelWarn},
	TLSSubjectRefused:     {level: slog.LevelWarn},
	TLSVersion:            {level: slog.LevelWarn},
	TLSUnknownName:        {level: slog.LevelWarn},
	TLSNoName:             {level: slog.LevelWarn},
	TLSTimeout:            {level: slog.LevelWarn},
	TLSClosed:             {level: slog.LevelInfo},
	TLSFailed:             {level: slog.LevelWarn},
	BadRequest:            {level: slog.LevelWarn},
	RequestTooLarge:       {level: slog.LevelWarn},
	UnknownAPI:            {level: slog.LevelWarn},
	APIRefused:            {level: slog.LevelWarn},
	UnsupportedVersion:    {level: slog.LevelWarn},
	Relearn:               {level: slog.LevelInfo, reset: resetBeforeLogin, linger: true},
	BadAnswer:             {level: slog.LevelWarn, linger: true},
	UnexpectedAnswer:      {level: slog.LevelWarn, linger: true},
	HeldBytes:             {level: slog.LevelWarn},
	HoldTimeout:           {level: slog.LevelWarn},
	Loop:                  {level: slog.LevelError},
	OtherCluster:          {level: slog.LevelWarn, reset: resetBeforeLogin, linger: true},
	NotAllowed:            {level: slog.LevelWarn},
	BadProxyHeader:        {level: slog.LevelWarn},
	TooManyConnections:    {level: slog.LevelWarn},
	TooManyFromSource:     {level: slog.LevelWarn},
	AcceptRate:            {level: slog.LevelWarn},
	IdleTimeout:           {level: slog.LevelInfo, linger: true, asked: true},
	BrokerMoved:           {level: slog.LevelInfo, reset: resetBeforeLogin, linger: true},
	MaxAge:                {level: slog.LevelInfo, linger: true, asked: true},
	Disconnected:          {level: slog.LevelInfo, linger: true, asked: true},
	PeerGone:              {level: slog.LevelWarn, reset: resetUnheard, linger: true},
	Drained:               {level: slog.LevelInfo, reset: resetUnheard, linger: true, asked: true},
	DrainTimeout:          {level: slog.LevelWarn},
}
