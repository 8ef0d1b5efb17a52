// Package proxy moves frames: it listens, opens a broker connection for every client, and
// moves requests one way and responses the other.
//
// The two types to know are [config.Config], the configuration, and [Proxy], which runs until
// Shutdown:
//
//	                       ┌───────────────────── session ─────────────────────┐
//	client ──▶ endpoint ──▶│ first header ─▶ dial that endpoint's broker       │──▶ broker
//	           of listener │ request pump ──▶ in-flight queue ──▶              │
//	client ◀───────────────│ ◀── response pump (rewrite) ◀── matched in order  │◀── broker
//	                       └───────────────────────────────────────────────────┘
//
// A listener has one endpoint for bootstrap and one for each slot of its range. Package
// internal/endpoints maps slots to nodes, internal/upstream maps nodes to the addresses at
// which they are dialled, and rewrite replaces the addresses in responses. A cluster
// (internal/cluster) combines the three.
//
// The proxy parses the header of a request, and the acks of Produce. It parses a response as
// far as package rewrite requires. Everything else passes unread.
//
// # Limits
//
// The proxy never responds for a broker, except to a version of ApiVersions that it does not
// know, to requests that a listener refuses, and to clients that log in at the proxy itself.
// It never sends a client to another broker than the one whose endpoint the client chose: a
// broker that is down is down. It never drops or reorders a frame. A frame that it cannot
// forward safely ends the session, and the [CloseReason] is the reason.
//
// # Reload
//
// [Proxy.Prepare] checks another configuration, and makes ready everything that it needs.
// [Change.Apply] makes it the Proxy's, and cannot fail. Sessions of listeners that have
// not changed are not touched.
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
