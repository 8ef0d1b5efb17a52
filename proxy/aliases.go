package proxy

import "kproxy/internal/cluster"

// The types of a Proxy's reports about its clusters.
type (
	// DialOutcome is the result of an attempt to reach a broker. The set is closed, as
	// that of CloseReason is.
	DialOutcome = cluster.Outcome
	// DialCount counts attempts to reach a broker.
	DialCount = cluster.DialCount
	// MapChangeCount counts changes of the map of brokers.
	MapChangeCount = cluster.MapChangeCount
	// Overflow is the nodes of one listener whose endpoints do not follow from the
	// configuration.
	Overflow = cluster.Overflow
	// Inquiry is a connection to a broker for the caller's own requests.
	Inquiry = cluster.Inquiry
	// NotKafkaError means that a peer's bytes are no Kafka response.
	NotKafkaError = cluster.NotKafkaError
)

// ErrNeedsLogin means that the cluster answers ApiVersions but not Metadata.
var ErrNeedsLogin = cluster.ErrNeedsLogin

// The values of DialOutcome. Further values are those of tlsconf.Failure, for a failed TLS
// handshake.
const (
	OutcomeOK                = cluster.OutcomeOK
	OutcomeConnectionRefused = cluster.OutcomeConnectionRefused
	OutcomeTimeout           = cluster.OutcomeTimeout
	OutcomeNoSuchHost        = cluster.OutcomeNoSuchHost
	OutcomeUnreachable       = cluster.OutcomeUnreachable
	OutcomeRefused           = cluster.OutcomeRefused
	OutcomeLoop              = cluster.OutcomeLoop
	OutcomeLoginFailed       = cluster.OutcomeLoginFailed
	OutcomeCanceled          = cluster.OutcomeCanceled
	OutcomeOther             = cluster.OutcomeOther

	OutcomeViaCredentials       = cluster.OutcomeViaCredentials
	OutcomeViaProxyUnreachable  = cluster.OutcomeViaProxyUnreachable
	OutcomeViaProxyUntrusted    = cluster.OutcomeViaProxyUntrusted
	OutcomeViaProxyProtocol     = cluster.OutcomeViaProxyProtocol
	OutcomeViaLoginRefused      = cluster.OutcomeViaLoginRefused
	OutcomeViaTargetRefused     = cluster.OutcomeViaTargetRefused
	OutcomeViaTargetUnreachable = cluster.OutcomeViaTargetUnreachable
	OutcomeViaTargetInvalid     = cluster.OutcomeViaTargetInvalid
)
