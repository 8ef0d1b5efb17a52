package proxy

import "kproxy/internal/cluster"

// The types by which a Proxy tells of its clusters.
type (
	// DialOutcome says how an attempt to reach a broker went. The set is closed, as
	// that of CloseReason is.
	DialOutcome = cluster.Outcome
	// DialCount counts attempts to reach a broker.
	DialCount = cluster.DialCount
	// MapChangeCount counts changes of the map of brokers.
	MapChangeCount = cluster.MapChangeCount
	// Overflow is the nodes of one listener whose endpoints do not follow from the
	// configuration.
	Overflow = cluster.Overflow
	// Inquiry is a connection to a broker for the caller's own questions.
	Inquiry = cluster.Inquiry
	// NotKafkaError is a response that no Kafka broker gives.
	NotKafkaError = cluster.NotKafkaError
)

// ErrNeedsLogin means that the cluster answers ApiVersions and nothing more.
var ErrNeedsLogin = cluster.ErrNeedsLogin

// The values of DialOutcome. Beside them are the values of a TLS handshake that failed.
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
