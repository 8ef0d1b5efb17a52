package main

import (
	"kproxy/proxy/aws"
	"kproxy/proxy/config"
)

// parts returns every part of package proxy: kproxy takes any configuration.
func parts() config.Parts {
	return config.Parts{AWS: aws.Source}
}
