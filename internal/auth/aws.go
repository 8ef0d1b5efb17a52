package auth

import (
	"context"
	"fmt"
	"sync"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
)

// AWS says which of the credentials of this machine, as AWS's own tools find
// them, kproxy signs with. The zero value is the first that are found.
type AWS struct {
	Region  string // where AWS itself is asked; "": what the environment and the profile say
	Profile string // a profile of the shared configuration; "": the default
	RoleARN string // a role to assume with the credentials found; "": none
}

// awsCredentials is the SDK's credential chain: environment, profile, web
// identity, container, instance. It is put together at the first login, because
// that may ask the machine's metadata service.
type awsCredentials struct {
	conf AWS

	mu       sync.Mutex // guards provider
	provider awssdk.CredentialsProvider
}

// awsMechanism signs logins by AWS_MSK_IAM. What is signed holds the name that
// the broker goes by, and the region in it.
func awsMechanism(conf AWS) sasl.Mechanism {
	c := &awsCredentials{conf: conf}
	return aws.ManagedStreamingIAM(func(ctx context.Context) (aws.Auth, error) {
		provider, err := c.chain(ctx)
		if err != nil {
			return aws.Auth{}, err
		}
		found, err := provider.Retrieve(ctx)
		if err != nil {
			return aws.Auth{}, fmt.Errorf("get AWS credentials: %w", err)
		}
		return aws.Auth{
			AccessKey:    found.AccessKeyID,
			SecretKey:    found.SecretAccessKey,
			SessionToken: found.SessionToken,
			UserAgent:    "kproxy",
		}, nil
	})
}

// chain returns the credential chain, which keeps what it finds until shortly
// before that expires.
func (c *awsCredentials) chain(ctx context.Context) (awssdk.CredentialsProvider, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.provider != nil {
		return c.provider, nil
	}
	var options []func(*config.LoadOptions) error
	if c.conf.Region != "" {
		options = append(options, config.WithRegion(c.conf.Region))
	}
	if c.conf.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.conf.Profile))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	c.provider = loaded.Credentials
	if c.conf.RoleARN != "" {
		role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(loaded), c.conf.RoleARN)
		c.provider = awssdk.NewCredentialsCache(role)
	}
	return c.provider, nil
}
