package telemetry

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"kproxy/internal/files"
	"kproxy/internal/hostport"
	"kproxy/proxy/config"
)

// The protocols of OTLP.
const (
	GRPC = "grpc"
	HTTP = "http/protobuf"
)

// DefaultInterval is the interval of pushes if OTLP.Interval is 0.
const DefaultInterval = 30 * time.Second

// OTLP has the address of an OpenTelemetry collector, and the settings to reach it.
type OTLP struct {
	Endpoint    string // host:port, or, for HTTP, also a URL
	Protocol    string // GRPC or HTTP; "": GRPC
	HeadersFile string // lines of name: value, sent with each push; "": none
	CA          string // file of certificates (PEM) that the collector's is checked against; "": the system's
	Insecure    bool   // no TLS
	Interval    time.Duration
}

// key is o's key in the configuration file.
const key = "telemetry.otlp"

// Validate finds every mistake that can be found without opening a file. The
// error joins a [*config.Error] for each.
func (o *OTLP) Validate() error {
	var errs []error
	add := func(name, problem, fix string) {
		errs = append(errs, &config.Error{Key: key + "." + name, Problem: problem, Fix: fix})
	}
	if o.Endpoint == "" {
		for _, set := range []struct {
			name string
			is   bool
		}{{"headers_file", o.HeadersFile != ""}, {"ca", o.CA != ""}, {"insecure", o.Insecure}} {
			if set.is {
				add(set.name, "there is no endpoint to use it with", "set "+key+".endpoint, or leave this out")
			}
		}
		return errors.Join(errs...)
	}
	if o.Insecure && o.CA != "" {
		add("ca", "without TLS there is no certificate to check", "leave out ca, or insecure")
	}
	switch u, isURL := o.url(); {
	case !linked:
		add("endpoint", "this kproxy does not link OTLP", "use a kproxy that is built without the tag small, or leave this out: Prometheus reads /metrics")
	case !isURL:
		host, _, err := hostport.Parse(o.Endpoint)
		if bad, ok := errors.AsType[*hostport.Error](err); ok {
			add("endpoint", bad.Problem, "write the collector's host:port, such as collector:4317")
		} else if hostport.IsWildcard(host) {
			add("endpoint", fmt.Sprintf("%q names no host", hostport.WithoutUser(o.Endpoint)), "write the collector's, such as collector:4317")
		}
	case o.Protocol != HTTP:
		add("endpoint", fmt.Sprintf("%q is a URL", hostport.WithoutUser(o.Endpoint)), "write host:port, or set "+key+".protocol to "+HTTP)
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		add("endpoint", fmt.Sprintf("%q is no URL of a collector", hostport.WithoutUser(o.Endpoint)), "write one such as https://collector.example.com:4318/v1/metrics")
	case u.User != nil:
		add("endpoint", "the URL holds a password", "write an Authorization header into "+key+".headers_file")
	case (u.Scheme == "http") != o.Insecure:
		add("endpoint", fmt.Sprintf("the URL says %s, and insecure %t", u.Scheme, o.Insecure), "make them agree: http:// goes with insecure: true")
	}
	return errors.Join(errs...)
}

// url returns the endpoint as a URL, if it is one.
func (o *OTLP) url() (*url.URL, bool) {
	if !strings.Contains(o.Endpoint, "://") {
		return nil, false
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil {
		return &url.URL{}, true
	}
	return u, true
}

// read reads the files. Each error is a [*config.Error].
func (o *OTLP) read(ctx context.Context) (p *Push, errs []error) {
	p = &Push{otlp: *o}
	var err error
	if p.headers, err = readHeaders(ctx, o.HeadersFile); err != nil {
		errs = append(errs, &config.Error{Key: key + ".headers_file", Problem: err.Error(), Fix: "name a file with lines such as Authorization: Bearer TOKEN"})
	}
	if p.roots, err = readCA(ctx, o.CA); err != nil {
		errs = append(errs, &config.Error{Key: key + ".ca", Problem: err.Error(), Fix: "name a file of certificates in PEM"})
	}
	p.secrets = secretsIn(p.headers)
	return p, errs
}

// CheckFiles reads the files once, as Load does. The error joins a [*config.Error]
// for each that cannot be used. o need not be valid.
func (o *OTLP) CheckFiles() error {
	if o.Endpoint == "" {
		return nil
	}
	_, errs := o.read(context.Background())
	return errors.Join(errs...)
}

// secretsIn returns the parts of the headers that no error may repeat: each value, and
// each word of it, such as the token after Bearer.
func secretsIn(headers map[string]string) []string {
	var all []string
	for _, value := range headers {
		all = append(all, value)
		for word := range strings.FieldsSeq(value) {
			if !strings.EqualFold(word, "Bearer") && !strings.EqualFold(word, "Basic") {
				all = append(all, word)
			}
		}
	}
	return all
}

func (o *OTLP) interval() time.Duration {
	if o.Interval == 0 {
		return DefaultInterval
	}
	return o.Interval
}

// maxFile bounds the files that are read, in bytes: the bundle of all public
// authorities has a quarter of it.
const maxFile = 1 << 20

func readCA(ctx context.Context, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil // nil is the system's own for crypto/tls
	}
	pem, err := files.Read(ctx, file, maxFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(files.WithoutBOM(pem)) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}

// readHeaders reads lines of name: value. Its errors name no value: it is most
// often a secret.
func readHeaders(ctx context.Context, file string) (map[string]string, error) {
	if file == "" {
		return map[string]string{}, nil
	}
	data, err := files.Read(ctx, file, maxFile)
	if err != nil {
		return nil, err
	}
	headers := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(files.WithoutBOM(data)))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("%s: line %d is no header", file, n)
		}
		headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return headers, lines.Err()
}
