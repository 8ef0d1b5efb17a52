package config

import (
	"kproxy/internal/auth"
	"kproxy/internal/via"
)

// Parts is the code that only some configurations need, and that brings large libraries with
// it. It is code, not data: a program sets it, and no configuration file does. A
// configuration that needs a part which the program does not link is a mistake.
type Parts struct {
	// AWS logs in by AWS_MSK_IAM. It is aws.Source of package proxy/aws, which imports the
	// AWS SDK; nil: not linked.
	AWS auth.AWSSource
	// SSH reaches brokers through an SSH server. It is ssh.Hop of package proxy/ssh, which
	// imports x/crypto/ssh; nil: not linked.
	SSH via.NewHop
}
