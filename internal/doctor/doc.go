// Package doctor judges a client's connections to a Kafka cluster: it turns errors into
// verdicts and fixes, and writes a report for a person or a program. It opens no
// connection; internal/connect does.
//
//	Case: an error, the port's protocol   ── Judge ──▶ Verdict, reason, Fix
//	Findings, one for each address         ── Report ─▶ Print, JSON
//
// A [Fix] can be pasted: lines for the broker's server.properties, the same as variables
// for a container, a command for a shell, or lines for the client's file. Texts that a peer
// can influence are validated or quoted before they are part of one.
package doctor
