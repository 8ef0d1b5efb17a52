package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/twmb/franz-go/pkg/sasl/aws"

	"kproxy/internal/files"
)

// AWS selects the credentials with which kproxy signs, among those that AWS's own tools
// find on this machine. The zero value selects the first ones found.
type AWS struct {
	Region  string // AWS's endpoint; "": as the environment and the profile say
	Profile string // a profile of the shared configuration; "": the default
	RoleARN string // a role to assume with the credentials found; "": none

	// SessionName is the session name of assumed roles, web identity included; "": the
	// one in the environment or the profile, or DefaultSessionName.
	SessionName string
	ExternalID  string // which the role to assume asks for; "": none
}

// DefaultSessionName is the session name where none is configured. It is part of the
// principal, which must not change when kproxy logs in again on a connection. So it is
// constant, while the SDK would make a new one each time.
const DefaultSessionName = "kproxy"

const (
	// awsTimeout bounds how long it takes to find credentials.
	awsTimeout = time.Minute
	// roleDuration is the requested duration of an assumed role. Every role allows it,
	// also from another role (AWS: role chaining). A broker ends a session with its
	// credentials.
	roleDuration = time.Hour
	// awsRest is the remaining lifetime at which credentials are renewed, at most half of
	// their lifetime. Roles of machines have new ones that long before the end.
	awsRest = 5 * time.Minute
	// awsMargin is the least remaining lifetime of credentials for a login, at most a
	// quarter of their lifetime.
	awsMargin = time.Minute
	// awsSteady is the interval at which credentials without an expiry are read again: a
	// file or a command may have new ones.
	awsSteady = 5 * time.Minute
)

// awsCredentials finds and keeps credentials, by the SDK's chain: environment, profile,
// web identity, container, instance. The chain is built anew for each look, because its
// own cache keeps credentials to their last second.
type awsCredentials struct {
	conf AWS
	kept *keeper[awssdk.Credentials]

	mu      sync.Mutex // guards the following
	secrets []string   // found by the last look
}

func newAWSCredentials(conf AWS) *awsCredentials {
	a := &awsCredentials{conf: conf}
	a.kept = newKeeper("no AWS credentials were found yet", awsTimeout, a.fetch)
	return a
}

func (a *awsCredentials) close() { a.kept.close() }

// credentials returns those of one login. The signature covers the broker's own name and
// the region in it.
func (a *awsCredentials) credentials(ctx context.Context) (credentials, error) {
	found, err := a.kept.get(ctx)
	if err != nil {
		return credentials{}, err
	}
	by := aws.Auth{
		AccessKey:    found.value.AccessKeyID,
		SecretKey:    found.value.SecretAccessKey,
		SessionToken: found.value.SessionToken,
		UserAgent:    "kproxy",
	}
	return credentials{
		mechanism: by.AsManagedStreamingIAMMechanism(),
		secrets:   []string{by.SecretKey, by.SessionToken},
		refused:   func() { a.kept.forget(found) },
	}, nil
}

// fetch looks for credentials.
func (a *awsCredentials) fetch(ctx context.Context) (*good[awssdk.Credentials], error) {
	a.hide(os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN"), os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
	// The chain opens files by their names: the shared configuration's, and others.
	provider, err := files.Do(ctx, "the AWS configuration", func() (awssdk.CredentialsProvider, error) { return a.chain(ctx) })
	if err != nil {
		return nil, a.explain(fmt.Errorf("read the AWS configuration: %w", err))
	}
	found, err := provider.Retrieve(ctx)
	if err != nil {
		return nil, a.explain(err)
	}
	now := time.Now()
	if found.CanExpire && !found.Expires.After(now) {
		return nil, fmt.Errorf("the AWS credentials that were found (%s) ended at %s", found.Source, found.Expires.UTC().Format(time.RFC3339))
	}
	g := &good[awssdk.Credentials]{value: found}
	g.renew, g.until = awsLife(now, found)
	return g, nil
}

// awsLife returns when credentials that were found now are renewed, and until when
// logins begin with them.
func awsLife(now time.Time, found awssdk.Credentials) (renew, until time.Time) {
	if !found.CanExpire {
		return now.Add(awsSteady), time.Time{}
	}
	life := found.Expires.Sub(now)
	return found.Expires.Add(-min(max(awsRest, life/4), life/2)), found.Expires.Add(-min(awsMargin, life/4))
}

// chain puts the SDK's chain together.
func (a *awsCredentials) chain(ctx context.Context) (awssdk.CredentialsProvider, error) {
	options := []func(*config.LoadOptions) error{
		config.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) {
			o.RoleSessionName = cmp.Or(a.conf.SessionName, o.RoleSessionName, DefaultSessionName)
			if name, ok := o.TokenRetriever.(stscreds.IdentityTokenFile); ok {
				o.TokenRetriever = webToken{a, string(name)}
			}
		}),
		config.WithAssumeRoleCredentialOptions(a.role),
	}
	if a.conf.Region != "" {
		options = append(options, config.WithRegion(a.conf.Region))
	}
	if a.conf.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(a.conf.Profile))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	a.ownProcess(&loaded)
	loaded.Credentials = a.noting(loaded.Credentials)
	if a.conf.RoleARN != "" {
		loaded.Credentials = a.assume(loaded, a.conf.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			if a.conf.ExternalID != "" {
				o.ExternalID = &a.conf.ExternalID
			}
		})
	}
	return loaded.Credentials, nil
}

// assume returns the credentials of a role that is assumed with those of conf.
func (a *awsCredentials) assume(conf awssdk.Config, arn string, options func(*stscreds.AssumeRoleOptions)) awssdk.CredentialsProvider {
	return a.noting(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(conf), arn, options, a.role))
}

// role completes a profile's settings of a role to assume.
func (a *awsCredentials) role(o *stscreds.AssumeRoleOptions) {
	o.RoleSessionName = cmp.Or(a.conf.SessionName, o.RoleSessionName, os.Getenv("AWS_ROLE_SESSION_NAME"), DefaultSessionName)
	o.Duration = cmp.Or(o.Duration, roleDuration)
}

// noting is provider, asked once, with errors that do not repeat its credentials.
func (a *awsCredentials) noting(provider awssdk.CredentialsProvider) awssdk.CredentialsProvider {
	return awssdk.NewCredentialsCache(awssdk.CredentialsProviderFunc(func(ctx context.Context) (awssdk.Credentials, error) {
		found, err := provider.Retrieve(ctx)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.secrets = append(a.secrets, found.SecretAccessKey, found.SessionToken)
		return found, err
	}))
}

// hide removes these secrets from errors.
func (a *awsCredentials) hide(secrets ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secrets = secrets
}

// webToken is the file with the token of a web identity.
type webToken struct {
	of   *awsCredentials
	name string
}

// maxWebToken bounds the token of a web identity. AWS takes 20,000 characters.
const maxWebToken = 64 << 10

// GetIdentityToken reads the token. Its errors, and those of AWS, do not repeat it.
func (w webToken) GetIdentityToken() ([]byte, error) {
	token, err := files.ReadSecret(context.Background(), w.name, maxWebToken)
	if err != nil {
		return nil, err
	}
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	w.of.secrets = append(w.of.secrets, token)
	return []byte(token), nil
}

// explain returns an error of the SDK for the log. It keeps the code and the message of
// AWS's response. Of a command's failure it keeps the kind alone, because the SDK repeats
// the command's output.
func (a *awsCredentials) explain(err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if failed, ok := errors.AsType[*processcreds.ProviderError](err); ok {
		return processFailure(failed)
	}
	if said, ok := errors.AsType[smithy.APIError](err); ok {
		return fmt.Errorf("get AWS credentials: AWS responds %s: %s", spoken(said.ErrorCode(), forms(a.secrets...)), spoken(said.ErrorMessage(), forms(a.secrets...)))
	}
	return spokenError(fmt.Errorf("get AWS credentials: %w", err), forms(a.secrets...))
}
