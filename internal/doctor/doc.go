// Package doctor judges how a client's way to a Kafka cluster went: it makes verdicts
// and fixes of errors, and a report that a person reads or a program parses. It opens no
// connection; internal/connect does.
//
//	Case: an error, and what the port says ── Judge ──▶ Verdict, reason, Fix
//	Findings, one for each address         ── Report ─▶ Print, JSON
//
// A [Fix] can be pasted: lines for the broker's server.properties, the same as variables
// for a container, a command for a shell, or lines for the client's file. Texts that a peer
// has a say in are validated or quoted before they are part of one.
package doctor
