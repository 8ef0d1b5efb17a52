// Package proxy says how frames travel: it listens, gives every client a broker
// connection of its own, and moves requests one way and answers the other.
//
// The two types to know are [Config], which says what to do, and [Proxy], which
// does it until Shutdown:
//
//	                       ┌───────────────────── session ─────────────────────┐
//	client ──▶ endpoint ──▶│ first header ─▶ dial that endpoint's broker       │──▶ broker
//	           of listener │ pump of requests ──▶ in-flight queue ──▶          │
//	client ◀───────────────│ ◀── pump of answers (rewrite) ◀── matched in order │◀── broker
//	                       └───────────────────────────────────────────────────┘
//
// A listener has one endpoint for bootstrap and one for each slot of its range;
// which node a slot belongs to is internal/endpoints' knowledge, where that node
// is reached internal/upstream's, and what an answer may tell a client rewrite's.
// A cluster puts the three together.
//
// A request is read as far as its header (and acks, where Produce has them), an
// answer as far as package rewrite asks. Everything else passes unseen.
//
// # What it does not do
//
// It never answers for a broker, but to say which versions of ApiVersions it
// understands. It never sends a client to another broker than the one whose
// endpoint the client chose: a broker that is down is down. It never drops or
// reorders a frame; what it cannot forward safely ends the session, and a
// [CloseReason] says why.
//
// # Parts
//
// Two libraries are large, and few programs need them: the AWS SDK for the mechanism
// AWS_MSK_IAM, and x/crypto/ssh for ssh://. A program that needs one sets it in
// [config.Parts]:
//
//	conf.Parts = config.Parts{AWS: aws.Source, SSH: ssh.Hop} // packages proxy/aws and proxy/ssh
//
// # Stability
//
// Before version 1.0 a minor version may change the exported names of this package; the
// CHANGELOG lists each change. The values of [CloseReason] and [DialOutcome] are a
// contract, because logs and dashboards have them.
package proxy
