// Package aws is the part of package proxy that logs in at brokers by AWS_MSK_IAM. It imports
// the AWS SDK, some hundred packages, which a program that does not need it does not link:
//
//	conf.Parts.AWS = aws.Source
package aws

import (
	"kproxy/internal/auth"
	"kproxy/internal/auth/awsauth"
	"kproxy/proxy/config"
)

// Source is [config.Parts].AWS. It finds credentials as AWS's own tools do.
func Source(conf config.AWS) auth.Source { return awsauth.New(conf) }
