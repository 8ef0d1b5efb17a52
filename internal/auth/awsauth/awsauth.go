// Package awsauth finds the credentials that kproxy signs with for AWS_MSK_IAM. It is the
// only package that imports the AWS SDK; package proxy/aws has it for programs that import
// package proxy.
package awsauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/twmb/franz-go/pkg/sasl/aws"

	"kproxy/internal/auth"
	"kproxy/internal/files"
)

const (
	// timeout bounds how long it takes to find credentials.
	timeout = time.Minute
	// roleDuration is the requested duration of an assumed role. Every role allows it,
	// also from another role (AWS: role chaining). A broker ends a session with its
	// credentials.
	roleDuration = time.Hour
	// leastRest is the remaining lifetime at which credentials are renewed, at most half of
	// their lifetime. Roles of machines have new ones that long before the end.
	leastRest = 5 * time.Minute
	// margin is the least remaining lifetime of credentials for a login, at most a
	// quarter of their lifetime.
	margin = time.Minute
	// steady is the interval at which credentials without an expiry are read again: a
	// file or a command may have new ones.
	steady = 5 * time.Minute
)

// search finds credentials by the SDK's chain: environment, profile, web identity,
// container, instance. Each fetch builds a new chain, because a chain keeps its
// credentials until they expire.
type search struct {
	conf auth.AWS

	mu      sync.Mutex // guards the following
	secrets []string   // found by the last look
}

// New returns the credentials that conf describes. It is an [auth.AWSSource].
func New(conf auth.AWS) auth.Source {
	s := &search{conf: conf}
	return auth.NewRenewing("no AWS credentials were found yet", timeout, s.fetch)
}

// fetch finds credentials. A signature by them covers the broker's name and the region in it.
func (s *search) fetch(ctx context.Context) (*auth.Lasting, error) {
	s.hide(os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN"), os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN"))
	// The chain opens files by their names: the shared configuration's, and others.
	provider, err := files.Do(ctx, "the AWS configuration", func() (awssdk.CredentialsProvider, error) { return s.chain(ctx) })
	if err != nil {
		return nil, s.explain(fmt.Errorf("read the AWS configuration: %w", err))
	}
	found, err := provider.Retrieve(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	now := time.Now()
	if found.CanExpire && !found.Expires.After(now) {
		return nil, fmt.Errorf("the AWS credentials that were found (%s) ended at %s", found.Source, found.Expires.UTC().Format(time.RFC3339))
	}
	by := aws.Auth{
		AccessKey:    found.AccessKeyID,
		SecretKey:    found.SecretAccessKey,
		SessionToken: found.SessionToken,
		UserAgent:    "kproxy",
	}
	l := &auth.Lasting{Credentials: auth.Credentials{
		Mechanism: by.AsManagedStreamingIAMMechanism(),
		Secrets:   []string{by.SecretKey, by.SessionToken},
	}}
	l.Renew, l.Until = lifeOf(now, found)
	return l, nil
}

// lifeOf returns when credentials that were found now are renewed, and until when
// logins begin with them.
func lifeOf(now time.Time, found awssdk.Credentials) (renew, until time.Time) {
	if !found.CanExpire {
		return now.Add(steady), time.Time{}
	}
	life := found.Expires.Sub(now)
	return found.Expires.Add(-min(max(leastRest, life/4), life/2)), found.Expires.Add(-min(margin, life/4))
}

// chain puts the SDK's chain together.
func (s *search) chain(ctx context.Context) (awssdk.CredentialsProvider, error) {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.DisableKeepAlives = true // net/http writes bytes that come on an idle connection to stderr, and they may hold a secret
		})),
		config.WithLogger(logging.Nop{}), // the SDK's own writes peers' texts to stderr
		config.WithWebIdentityRoleCredentialOptions(func(o *stscreds.WebIdentityRoleOptions) {
			o.RoleSessionName = cmp.Or(s.conf.SessionName, o.RoleSessionName, auth.DefaultSessionName)
			if name, ok := o.TokenRetriever.(stscreds.IdentityTokenFile); ok {
				o.TokenRetriever = webToken{s, string(name)}
			}
		}),
		config.WithAssumeRoleCredentialOptions(s.role),
	}
	if s.conf.Region != "" {
		options = append(options, config.WithRegion(s.conf.Region))
	}
	if s.conf.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(s.conf.Profile))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	s.ownProcess(&loaded)
	loaded.Credentials = s.noting(loaded.Credentials)
	if s.conf.RoleARN != "" {
		loaded.Credentials = s.assume(loaded, s.conf.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			if s.conf.ExternalID != "" {
				o.ExternalID = &s.conf.ExternalID
			}
		})
	}
	return loaded.Credentials, nil
}

// assume returns the credentials of a role that is assumed with those of conf.
func (s *search) assume(conf awssdk.Config, arn string, options func(*stscreds.AssumeRoleOptions)) awssdk.CredentialsProvider {
	return s.noting(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(conf), arn, options, s.role))
}

// role completes a profile's settings of a role to assume.
func (s *search) role(o *stscreds.AssumeRoleOptions) {
	o.RoleSessionName = cmp.Or(s.conf.SessionName, o.RoleSessionName, os.Getenv("AWS_ROLE_SESSION_NAME"), auth.DefaultSessionName)
	o.Duration = cmp.Or(o.Duration, roleDuration)
}

// noting is provider, asked once, with errors that do not repeat its credentials.
func (s *search) noting(provider awssdk.CredentialsProvider) awssdk.CredentialsProvider {
	return awssdk.NewCredentialsCache(awssdk.CredentialsProviderFunc(func(ctx context.Context) (awssdk.Credentials, error) {
		found, err := provider.Retrieve(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.secrets = append(s.secrets, found.SecretAccessKey, found.SessionToken)
		return found, err
	}))
}

// hide removes these secrets from errors.
func (s *search) hide(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = secrets
}

// webToken is the file with the token of a web identity.
type webToken struct {
	of   *search
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
func (s *search) explain(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if failed, ok := errors.AsType[*processcreds.ProviderError](err); ok {
		return processFailure(failed)
	}
	if said, ok := errors.AsType[smithy.APIError](err); ok {
		return fmt.Errorf("get AWS credentials: AWS responds %s: %s", auth.Quote(said.ErrorCode(), s.secrets...), auth.Quote(said.ErrorMessage(), s.secrets...))
	}
	return auth.QuoteError(fmt.Errorf("get AWS credentials: %w", err), s.secrets...)
}
