package proxy

import "kproxy/internal/cluster"

// dialFailure returns why a session ends whose broker cannot be reached.
func dialFailure(err error) *ended {
	outcome, fix := cluster.Diagnose(err)
	why := &ended{reason: DialFailed, err: err, fix: fix}
	switch outcome {
	case cluster.OutcomeLoop:
		why.reason = Loop
	case cluster.OutcomeOtherCluster:
		why.reason = OtherCluster
	case cluster.OutcomeRefused:
		why.reason = DialRefused
	case cluster.OutcomeLoginFailed:
		why.reason = BrokerLogin
	default:
	}
	return why
}
