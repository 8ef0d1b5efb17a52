//go:build !small

package main

import (
	"kproxy/proxy/aws"
	"kproxy/proxy/config"
	"kproxy/proxy/ssh"
)

// parts returns every part of package proxy: kproxy takes any configuration.
func parts() config.Parts {
	return config.Parts{AWS: aws.Source, SSH: ssh.Hop}
}
