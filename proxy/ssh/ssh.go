// Package ssh is the part of package proxy that reaches brokers through an SSH server. It
// imports x/crypto/ssh, which a program that does not need it does not link:
//
//	conf.Parts.SSH = ssh.Hop
package ssh

import (
	"kproxy/internal/via"
	"kproxy/internal/via/viassh"
)

// Hop is config.Parts.SSH: a way through for URLs ssh://user@host:port.
func Hop(c via.Config, p via.Place) (via.Hop, error) { return viassh.New(c, p) }
