//go:build small

package main

import (
	"kproxy/proxy/config"
	"kproxy/proxy/ssh"
)

// parts leaves out the AWS SDK, 3.6 MB. SSH is a fifth of that, and used more.
func parts() config.Parts {
	return config.Parts{SSH: ssh.Hop}
}
