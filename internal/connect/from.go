package connect

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"kproxy/internal/files"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/proxy/config"
)

// Client is the content of a client's configuration.
type Client struct {
	Bootstrap []string
	TLS       *config.UpstreamTLS // nil: plaintext
	SASL      *config.SASL        // nil: no login
	Notes     []string            // notes for the user
	NoLogin   error               // why SASL cannot be used; --sasl replaces it

	dir string // of files in PEM that were converted from others
}

// Close removes the files that were made from the client's. TLS must not be used any
// more.
func (c *Client) Close() {
	if c.dir != "" {
		_ = os.RemoveAll(c.dir)
	}
}

// FromFile reads a client's configuration: Java's properties, or librdkafka's keys. The
// error names the file, the line, the key and the fix of each mistake, and quotes no value
// that may be secret. The Client must be closed.
func FromFile(ctx context.Context, file string) (*Client, error) {
	data, err := files.ReadArgument(ctx, file, maxFile)
	if err != nil {
		return nil, fmt.Errorf("--config-from: %w", err)
	}
	return fromData(ctx, file, data)
}

// fromData makes a Client from a file's content.
func fromData(ctx context.Context, name string, data []byte) (*Client, error) {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return nil, fmt.Errorf("%s: the file is UTF-16; save it as UTF-8", name)
	}
	text := files.WithoutBOM(data)
	f, err := parseClientFile(name, text)
	if err != nil {
		return nil, err
	}
	misspelt, notes := f.unknown()
	if len(text) < len(data) {
		notes = append(notes, f.at(1)+"the file begins with a byte order mark, which Java takes for a part of the first key; save it without one")
	}
	c, err := fromKeys(ctx, f.keys())
	if len(misspelt) > 0 {
		if err == nil {
			c.Close()
		}
		// A mistake that names no line is most likely due to the misspelt key.
		for _, err := range unjoined(err) {
			if bad, ok := errors.AsType[*keyError](err); ok && f.lineOf(bad.key) > 0 {
				misspelt = append(misspelt, err)
			}
		}
		err = errors.Join(misspelt...)
	}
	if err != nil {
		return nil, f.locate(err)
	}
	for i, note := range c.Notes {
		key, _, _ := strings.Cut(note, ":")
		c.Notes[i] = f.at(f.lineOf(key)) + note
	}
	if c.NoLogin != nil {
		c.NoLogin = f.locate(c.NoLogin)
	}
	c.Notes = slices.Concat(c.Notes, f.twice(), notes)
	return c, nil
}

// maxFile bounds a client's configuration and its stores, in bytes: the bundle of all
// public authorities has a quarter of it.
const maxFile = 1 << 20

// written is the name of a key that the file uses; the first one if it uses none.
func (k keys) written(names ...string) string {
	for _, name := range names {
		if _, ok := k[name]; ok {
			return name
		}
	}
	return names[0]
}

// fromKeys makes a Client from keys. Keys that do not concern the connection to the
// cluster are ignored. The error joins all mistakes.
func fromKeys(ctx context.Context, k keys) (*Client, error) {
	c := &Client{}
	errs := []error{c.addresses(k)}
	protocol := strings.ToUpper(cmp.Or(k["security.protocol"], "PLAINTEXT"))
	var err error
	switch {
	case !slices.Contains([]string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, protocol):
		errs = append(errs, badKey("security.protocol", "it is none of PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL; write one of them"))
	case strings.HasSuffix(protocol, "SSL"):
		c.TLS, err = c.tls(ctx, k)
		errs = append(errs, err)
	}
	if strings.HasPrefix(protocol, "SASL_") {
		errs = append(errs, c.login(k, protocol))
	}
	if err := errors.Join(errs...); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// maxBootstrap is how many addresses a client's file may have to bootstrap at.
const maxBootstrap = 100

// addresses reads the bootstrap addresses. Empty parts of the list are left out, as
// clients do.
func (c *Client) addresses(k keys) error {
	key := k.written("bootstrap.servers", "metadata.broker.list")
	var errs []error
	if n := strings.Count(k[key], ",") + 1; n > maxBootstrap {
		return badKey(key, "it has %d addresses, and %d are the most; keep a few, by which the cluster is found", n, maxBootstrap)
	}
	for address := range strings.SplitSeq(k[key], ",") {
		// Both kinds of clients accept a protocol in front: SSL://host:9093.
		if _, rest, ok := strings.Cut(address, "://"); ok {
			address = rest
		}
		if address = strings.TrimSpace(address); address == "" {
			continue
		}
		if _, _, err := hostport.Parse(address); err != nil {
			errs = append(errs, badKey(key, "%w", err))
			continue
		}
		c.Bootstrap = append(c.Bootstrap, address)
	}
	return errors.Join(errs...)
}

// login reads how the client logs in.
func (c *Client) login(k keys, protocol string) (err error) {
	protocolHides := protocol == "SASL_SSL"
	c.SASL, err = c.sasl(k)
	if err != nil {
		return err
	}
	if c.SASL.Mechanism == "OAUTHBEARER" && c.SASL.OAuth.TokenURL == "" && c.SASL.OAuth.TokenFile == "" {
		c.NoLogin = noTokens(k)
	}
	if !protocolHides {
		c.SASL.AllowPlaintext = true // as the client does
	}
	return nil
}

// handlerKey names the class by which a Java client gets its tokens.
const handlerKey = "sasl.login.callback.handler.class"

// mskHandler is the beginning of the classes of aws-msk-iam-auth.
const mskHandler = "software.amazon.msk."

// sasl is how the client logs in.
func (c *Client) sasl(k keys) (*config.SASL, error) {
	mechanismKey := k.written("sasl.mechanism", "sasl.mechanisms")
	s := &config.SASL{Mechanism: strings.ToUpper(cmp.Or(k[mechanismKey], "GSSAPI"))}
	login, err := parseJAAS(k["sasl.jaas.config"])
	if err != nil {
		return nil, badKey("sasl.jaas.config", "%w", err)
	}
	if s.Mechanism == "OAUTHBEARER" && strings.HasPrefix(k[handlerKey], mskHandler) {
		s.Mechanism = "AWS_MSK_IAM"
		c.Notes = append(c.Notes, handlerKey+": the client makes tokens of AWS credentials; kproxy logs in with these by AWS_MSK_IAM, at the same port")
	}
	switch s.Mechanism {
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		s.Username = cmp.Or(k["sasl.username"], login["username"])
		s.Password.Text = cmp.Or(k["sasl.password"], login["password"])
		if s.Username == "" || s.Password.Text == "" {
			return nil, noPassword(k, s.Mechanism)
		}
	case "OAUTHBEARER":
		s.OAuth = config.OAuth{
			TokenURL:     cmp.Or(k["sasl.oauthbearer.token.endpoint.url"], login["oauth.token.endpoint.uri"]),
			ClientID:     cmp.Or(k["sasl.oauthbearer.client.id"], k["sasl.oauthbearer.client.credentials.client.id"], login["clientId"]),
			ClientSecret: config.Secret{Text: cmp.Or(k["sasl.oauthbearer.client.secret"], k["sasl.oauthbearer.client.credentials.client.secret"], login["clientSecret"])},
			Scope:        cmp.Or(k["sasl.oauthbearer.scope"], login["scope"]),
			Extensions:   extensions(k, login),
		}
		if file, ok := strings.CutPrefix(s.OAuth.TokenURL, "file:"); ok {
			s.OAuth = config.OAuth{TokenFile: filepath.FromSlash("/" + strings.TrimLeft(file, "/")), Extensions: s.OAuth.Extensions}
		}
	case "AWS_MSK_IAM":
		s.AWS = config.AWS{
			Profile: login["awsProfileName"], RoleARN: login["awsRoleArn"], Region: login["awsStsRegion"],
			SessionName: login["awsRoleSessionName"], ExternalID: login["awsRoleExternalId"],
		}
	default:
		return nil, badKey(mechanismKey, "kproxy cannot log in by %s; choose PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM, or leave the login to the client: kproxy connect HOST:PORT without --config-from", strconv.Quote(foreign.Line(s.Mechanism)))
	}
	return s, nil
}

// noPassword is the error about a client's file without a user and a password.
func noPassword(k keys, mechanism string) error {
	switch {
	case k["sasl.username"] != "":
		return badKey("sasl.username", "there is no sasl.password beside it; write it too")
	case k["sasl.password"] != "":
		return badKey("sasl.password", "there is no sasl.username beside it; write it too")
	default:
		return badKey("sasl.jaas.config", "there is no username and password for %s; write them there, or, for librdkafka, as sasl.username and sasl.password", mechanism)
	}
}

// noTokens is the advice about a client that gets its tokens by its own code.
func noTokens(k keys) error {
	const aws = "the client makes its tokens of AWS credentials; kproxy logs in with these by another mechanism of the same port: add --sasl AWS_MSK_IAM"
	class := k[handlerKey]
	switch key := k.written("bootstrap.servers", "metadata.broker.list"); {
	case slices.ContainsFunc(strings.Split(k[key], ","), isMSK):
		return badKey(k.written("sasl.mechanism", "sasl.mechanisms"), aws)
	case strings.EqualFold(k["sasl.oauthbearer.metadata.authentication.type"], "aws_iam"):
		return badKey("sasl.oauthbearer.metadata.authentication.type", aws)
	case class != "":
		return badKey(handlerKey, "kproxy cannot run %s; write sasl.oauthbearer.token.endpoint.url, or add --sasl OAUTHBEARER --token-file FILE", strconv.Quote(foreign.Line(class)))
	default:
		return badKey("sasl.oauthbearer.token.endpoint.url", "missing; write it, or add --sasl OAUTHBEARER --token-file FILE")
	}
}

// isMSK reports whether an address is that of a broker of Amazon MSK.
func isMSK(address string) bool {
	host, _, err := hostport.Parse(strings.TrimSpace(address))
	host = strings.ToLower(host)
	return err == nil && strings.Contains(host, ".kafka") && (strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn"))
}

// extensions are SASL extensions: librdkafka's a=b,c=d, and the extension_… of a login
// module.
func extensions(k keys, login map[string]string) map[string]string {
	all := map[string]string{}
	for pair := range strings.SplitSeq(k["sasl.oauthbearer.extensions"], ",") {
		if name, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok {
			all[name] = value
		}
	}
	for _, option := range slices.Sorted(maps.Keys(login)) {
		if name, ok := strings.CutPrefix(option, "extension_"); ok {
			all[name] = login[option]
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}
