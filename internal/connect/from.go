package connect

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/magiconair/properties"

	"kproxy/internal/files"
	"kproxy/internal/hostport"
	"kproxy/proxy"
)

// Client is what a client's configuration says of the cluster.
type Client struct {
	Bootstrap []string
	TLS       *proxy.UpstreamTLS // nil: plaintext
	SASL      *proxy.SASL        // nil: no login
	Notes     []string           // what the user should know
	NoLogin   error              // why SASL cannot be used as it is; --sasl takes its place

	dir string // of files in PEM that were made of others
}

// Close removes what was made of the client's files. TLS has to be of no use any more.
func (c *Client) Close() {
	if c.dir != "" {
		_ = os.RemoveAll(c.dir)
	}
}

// FromFile reads a client's configuration: Java's properties, or librdkafka's keys. The
// error names the file, the key and the fix, and quotes no value that may be secret. The
// Client must be closed.
func FromFile(ctx context.Context, file string) (*Client, error) {
	data, err := files.ReadArgument(ctx, file, maxFile)
	if err != nil {
		return nil, fmt.Errorf("--config-from: %w", err)
	}
	keys, err := parseKeys(files.WithoutBOM(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c, err := fromKeys(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// maxFile bounds a client's configuration and its stores, in bytes: the bundle of all
// public authorities has a quarter of it.
const maxFile = 1 << 20

// keys are a client's keys and values.
type keys map[string]string

// The keys that only one of both kinds of clients has.
var (
	onlyRdkafka = []string{
		"metadata.broker.list", "sasl.username", "sasl.password", "sasl.mechanisms", "ssl.ca.location", "ssl.ca.pem", "ssl.certificate.location",
		"ssl.certificate.pem", "ssl.key.location", "ssl.key.pem", "enable.ssl.certificate.verification", "sasl.oauthbearer.config", "sasl.oauthbearer.method",
	}
	onlyJava = []string{
		"sasl.jaas.config", "ssl.truststore.location", "ssl.truststore.type", "ssl.truststore.certificates", "ssl.keystore.type", "ssl.keystore.key",
		"ssl.keystore.certificate.chain", "sasl.login.callback.handler.class", "sasl.client.callback.handler.class", "key.serializer", "value.deserializer",
	}
)

// parseKeys reads a file by the rules of whoever reads it otherwise: a backslash is one
// to librdkafka, and begins an escape to Java.
func parseKeys(data []byte) (keys, error) {
	plain := parsePlain(string(data))
	java, rdkafka := plain.firstOf(onlyJava), plain.firstOf(onlyRdkafka)
	switch {
	case java != "" && rdkafka != "":
		return nil, fmt.Errorf("%s is a key of Java's clients, and %s of librdkafka's; keep those of one", java, rdkafka)
	case rdkafka != "":
		return plain, nil
	}
	// ${…} means nothing to Java, and Latin-1 is what it reads.
	loader := properties.Loader{Encoding: properties.ISO_8859_1, DisableExpansion: true}
	p, err := loader.LoadBytes(data)
	if err != nil { // its text quotes the file, which has secrets
		return nil, fmt.Errorf("it is no properties file: a line of it cannot be read; write key=value, and \\uXXXX with four digits")
	}
	return p.Map(), nil
}

// parsePlain reads key=value, as librdkafka's own programs do.
func parsePlain(text string) keys {
	all := keys{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok {
			all[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return all
}

func (k keys) firstOf(names []string) string {
	for _, name := range names {
		if _, ok := k[name]; ok {
			return name
		}
	}
	return ""
}

// fromKeys makes a Client of keys. Those that have nothing to do with the way to the
// cluster are not looked at.
func fromKeys(ctx context.Context, k keys) (c *Client, err error) {
	c = &Client{}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	for address := range strings.SplitSeq(cmp.Or(k["bootstrap.servers"], k["metadata.broker.list"]), ",") {
		// Both may have a protocol in front: SSL://host:9093.
		if _, rest, ok := strings.Cut(address, "://"); ok {
			address = rest
		}
		if address = strings.TrimSpace(address); address == "" {
			continue
		}
		if _, _, err := hostport.Parse(address); err != nil {
			return c, fmt.Errorf("bootstrap.servers: %w", err)
		}
		c.Bootstrap = append(c.Bootstrap, address)
	}
	protocol := strings.ToUpper(cmp.Or(k["security.protocol"], "PLAINTEXT"))
	if !slices.Contains([]string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, protocol) {
		return c, fmt.Errorf("security.protocol: it is none of PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL")
	}
	if strings.HasSuffix(protocol, "SSL") {
		if c.TLS, err = c.tls(ctx, k); err != nil {
			return c, err
		}
	}
	if strings.HasPrefix(protocol, "SASL") {
		if c.SASL, err = sasl(k); err != nil {
			return c, err
		}
		if c.SASL.Mechanism == "OAUTHBEARER" && c.SASL.OAuth.TokenURL == "" && c.SASL.OAuth.TokenFile == "" {
			c.NoLogin = noTokens(k)
		}
		if protocol == "SASL_PLAINTEXT" {
			c.SASL.AllowPlaintext = true // as the client does
		}
	}
	return c, nil
}

// sasl is how the client logs in.
func sasl(k keys) (*proxy.SASL, error) {
	s := &proxy.SASL{Mechanism: strings.ToUpper(cmp.Or(k["sasl.mechanism"], k["sasl.mechanisms"], "GSSAPI"))}
	login, err := parseJAAS(k["sasl.jaas.config"])
	if err != nil {
		return nil, fmt.Errorf("sasl.jaas.config: %w", err)
	}
	switch s.Mechanism {
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		s.Username = cmp.Or(k["sasl.username"], login["username"])
		s.Password.Text = cmp.Or(k["sasl.password"], login["password"])
		if s.Username == "" || s.Password.Text == "" {
			return nil, fmt.Errorf("sasl.jaas.config: there is no username and password for %s; write them there, or, for librdkafka, as sasl.username and sasl.password", s.Mechanism)
		}
	case "OAUTHBEARER":
		s.OAuth = proxy.OAuth{
			TokenURL:     cmp.Or(k["sasl.oauthbearer.token.endpoint.url"], login["oauth.token.endpoint.uri"]),
			ClientID:     cmp.Or(k["sasl.oauthbearer.client.id"], k["sasl.oauthbearer.client.credentials.client.id"], login["clientId"]),
			ClientSecret: proxy.Secret{Text: cmp.Or(k["sasl.oauthbearer.client.secret"], k["sasl.oauthbearer.client.credentials.client.secret"], login["clientSecret"])},
			Scope:        cmp.Or(k["sasl.oauthbearer.scope"], login["scope"]),
			Extensions:   extensions(k, login),
		}
		if file, ok := strings.CutPrefix(s.OAuth.TokenURL, "file:"); ok {
			s.OAuth = proxy.OAuth{TokenFile: filepath.FromSlash("/" + strings.TrimLeft(file, "/")), Extensions: s.OAuth.Extensions}
		}
	case "AWS_MSK_IAM":
		s.AWS = proxy.AWS{
			Profile: login["awsProfileName"], RoleARN: login["awsRoleArn"], Region: login["awsStsRegion"],
			SessionName: login["awsRoleSessionName"], ExternalID: login["awsRoleExternalId"],
		}
	default:
		return nil, fmt.Errorf("sasl.mechanism: kproxy cannot log in by %s; choose another mechanism, or leave it to the client: kproxy connect HOST:PORT without --config-from", strconv.Quote(s.Mechanism))
	}
	return s, nil
}

// noTokens says what to do about a client that gets its tokens by code of its own.
func noTokens(k keys) error {
	const handler = "sasl.login.callback.handler.class"
	class := k[handler]
	switch {
	case strings.HasPrefix(class, "software.amazon.msk.") || slices.ContainsFunc(strings.Split(cmp.Or(k["bootstrap.servers"], k["metadata.broker.list"]), ","), isMSK):
		return fmt.Errorf("sasl.mechanism: the client makes its tokens of AWS credentials; kproxy logs in with these by another mechanism of the same port: add --sasl AWS_MSK_IAM")
	case class != "":
		return fmt.Errorf("%s: kproxy cannot run %s; write sasl.oauthbearer.token.endpoint.url, or add --sasl OAUTHBEARER --token-file FILE", handler, strconv.Quote(class))
	default:
		return fmt.Errorf("sasl.oauthbearer.token.endpoint.url: missing; write it, or add --sasl OAUTHBEARER --token-file FILE")
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
