package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kproxy/internal/connect"
	"kproxy/internal/files"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/proxy/config"
)

// connectFlags are the flags of connect, unparsed.
type connectFlags struct {
	nodes, dial []string

	tls, insecure                bool
	ca, cert, key, serverName    string
	sasl, username, passwordFile string
	passwordEnv, tokenFile       string
	awsRegion, awsProfile        string
	allowPlaintext               bool
	via                          config.Via

	listen, advertise string
	port              int
	configFrom, exec  string
	verbose           bool
}

func (f *connectFlags) add(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	f.addFrom(cmd)
	groupFlags(cmd, "Where the brokers are", func(flags *pflag.FlagSet) {
		flags.StringArrayVar(&f.nodes, "node", nil, "where one node is: `ID=HOST:PORT`; may be given several times")
		flags.StringArrayVar(&f.dial, "dial", nil, "where brokers that advertise an address are: `MATCH=HOST:PORT`, as in dial rules ('b*.internal:9092=127.0.0.1:{19092+node}')")
	})
	f.addSecurity(cmd)
	groupFlags(cmd, "Where kproxy listens", func(flags *pflag.FlagSet) {
		flags.StringVar(&f.listen, "listen", "", "`HOST` to listen on, for containers and other machines (default: loopback)")
		flags.StringVar(&f.advertise, "advertise", "", "`HOST` that is advertised to clients (default: localhost, or --listen)")
		flags.IntVar(&f.port, "port", 0, "`PORT` of bootstrap; nodes have the ports after it (default: free ones, the same in every run)")
	})
	cmd.Flags().StringVar(&f.exec, "exec", "", "run `CMD` in the shell with KAFKA_BOOTSTRAP_SERVERS set, and end with it and its exit code")
	cmd.Flags().BoolVar(&f.verbose, "verbose", false, "log every connection")
}

// addCluster adds the flags about the cluster and the way to it.
func (f *connectFlags) addCluster(cmd *cobra.Command) {
	f.addFrom(cmd)
	f.addSecurity(cmd)
}

func (f *connectFlags) addFrom(cmd *cobra.Command) {
	groupFlags(cmd, "From a client's configuration", func(flags *pflag.FlagSet) {
		flags.StringVar(&f.configFrom, "config-from", "", "take addresses, TLS and login from a client's `FILE`: client.properties, or librdkafka's keys; it may be a pipe")
	})
}

func (f *connectFlags) addSecurity(cmd *cobra.Command) {
	groupFlags(cmd, "TLS to the brokers", func(flags *pflag.FlagSet) {
		flags.BoolVar(&f.tls, "tls", false, "speak TLS to the brokers")
		flags.StringVar(&f.ca, "ca", "", "`FILE` of the certificates that sign the brokers' (PEM; default: the system's)")
		flags.StringVar(&f.cert, "cert", "", "`FILE` of a certificate to show the brokers (PEM)")
		flags.StringVar(&f.key, "key", "", "`FILE` of the certificate's private key (PEM)")
		flags.StringVar(&f.serverName, "server-name", "", "`NAME` that every broker's certificate must have, instead of the broker's own")
		flags.BoolVar(&f.insecure, "insecure", false, "accept any certificate: a machine between can read and change everything")
	})
	groupFlags(cmd, "Login at the brokers (default: clients log in by themselves)", func(flags *pflag.FlagSet) {
		flags.StringVar(&f.sasl, "sasl", "", "log in by `MECHANISM`: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, AWS_MSK_IAM")
		flags.StringVar(&f.username, "username", "", "the `USER` to log in as")
		flags.StringVar(&f.passwordFile, "password-file", "", "`FILE` with the password; it may be a pipe")
		flags.StringVar(&f.passwordEnv, "password-env", "", "`NAME` of an environment variable with the password")
		flags.StringVar(&f.tokenFile, "token-file", "", "`FILE` with a token, for OAUTHBEARER")
		flags.StringVar(&f.awsRegion, "aws-region", "", "`REGION` for AWS_MSK_IAM (default: the environment's)")
		flags.StringVar(&f.awsProfile, "aws-profile", "", "`PROFILE` for AWS_MSK_IAM")
		flags.BoolVar(&f.allowPlaintext, "allow-plaintext", false, "send secrets without TLS too")
	})
	groupFlags(cmd, "The way to the brokers", func(flags *pflag.FlagSet) {
		flags.StringVar(&f.via.URL, "via", "", "reach the brokers through `URL`: socks5://, http://, https://, ssh://USER@HOST, or 'exec:CMD {host} {port}'")
		flags.StringVar(&f.via.PasswordFile, "via-password-file", "", "`FILE` with the password of the URL's user")
		flags.StringVar(&f.via.KeyFile, "via-key-file", "", "`FILE` of a private key for ssh, or of a public key whose private key the agent has (default: the agent's keys)")
		flags.StringVar(&f.via.PassphraseFile, "via-passphrase-file", "", "`FILE` with the passphrase of that key")
		flags.StringVar(&f.via.KnownHosts, "via-known-hosts", "", "`FILE` of ssh's host keys (default: ~/.ssh/known_hosts)")
	})
}

// options are the flags and arguments, checked. cleanUp removes the files that they have
// made.
func (f *connectFlags) options(ctx context.Context, args []string, stderr io.Writer) (o *connect.Options, cleanUp func(), err error) {
	cleanUp = func() {}
	addresses, err := splitAddresses(args)
	if err != nil {
		return nil, nil, err
	}
	o = &connect.Options{
		Addresses: addresses, Parts: parts(), Via: f.via, Port: f.port, StateDir: connectStateDir(), Timeout: connectTimeout,
		Say: func(line string) { _, _ = fmt.Fprintln(stderr, "kproxy: "+foreign.LineOf(line, maxErrorLine)) },
	}
	if f.configFrom != "" {
		var from *connect.Client
		if from, err = connect.FromFile(ctx, f.configFrom); err != nil {
			return nil, nil, err
		}
		cleanUp = from.Close
		defer func() {
			if err != nil {
				from.Close()
			}
		}()
		if len(args) == 0 {
			o.Addresses = from.Bootstrap
		}
		for _, note := range from.Notes {
			o.Say(note)
		}
		if len(o.Addresses) == 0 {
			return nil, nil, fmt.Errorf("%s: bootstrap.servers: missing; write it there, or give HOST:PORT as an argument", f.configFrom)
		}
		if from.NoLogin != nil && f.sasl == "" {
			return nil, nil, from.NoLogin
		}
		o.TLS, o.SASL = from.TLS, from.SASL
	}
	if err := errors.Join(f.addresses(o), f.where(o), f.security(ctx, o), f.listening(o)); err != nil {
		return nil, nil, err
	}
	if err := asFlags(o.Validate()); err != nil {
		return nil, nil, err
	}
	removePipes, err := o.KeepPipes(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("--ca, --cert or --key: %w", err)
	}
	removeFiles := cleanUp
	cleanUp = func() {
		removePipes()
		removeFiles()
	}
	if f.verbose {
		o.Logger, err = newFixedLogger(stderr, logKeys{Level: "debug", Format: "text"})
		return o, cleanUp, err
	}
	removeAll := cleanUp
	lines := newBriefLog(stderr)
	o.Logger = lines.logger()
	return o, func() {
		lines.close()
		removeAll()
	}, nil
}

// splitAddresses reads addresses as arguments have them: each its own, or several with
// commas, as bootstrap.servers has them.
func splitAddresses(args []string) ([]string, error) {
	text := strings.TrimSpace(strings.Join(args, " "))
	if text == "" {
		return nil, nil
	}
	all := addressSeparator.Split(text, -1)
	if slices.Contains(all, "") {
		return nil, fmt.Errorf("%q has a comma without an address beside it; leave the comma out", hostport.WithoutUser(text))
	}
	return all, nil
}

func (f *connectFlags) addresses(o *connect.Options) error {
	if len(o.Addresses) == 0 {
		return errors.New("no address; write the HOST:PORT at which the cluster is reached, or name a client's configuration with --config-from")
	}
	for _, address := range o.Addresses {
		host, _, err := hostport.Parse(address)
		if err == nil && hostport.IsWildcard(host) {
			err = fmt.Errorf("%q names no host; write the broker's name or address, such as broker-1:9092", address)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// where reads --node, --dial and the defaults of --via.
func (f *connectFlags) where(o *connect.Options) error {
	o.Nodes = map[int32]string{}
	for _, text := range f.nodes {
		id, address, ok := strings.Cut(text, "=")
		node, err := parseInt32(id)
		if _, _, bad := hostport.Parse(address); !ok || err != nil || node < 0 || bad != nil {
			return fmt.Errorf("--node %s: it is no ID=HOST:PORT; write one such as --node 0=127.0.0.1:9092", hostport.WithoutUser(text))
		}
		if _, twice := o.Nodes[node]; twice {
			return fmt.Errorf("--node %s: node %d is there twice; leave one out", text, node)
		}
		o.Nodes[node] = address
	}
	for _, text := range f.dial {
		match, to, ok := strings.Cut(text, "=")
		if !ok {
			return fmt.Errorf("--dial %s: it is no MATCH=HOST:PORT; write one such as --dial 'b*.internal:9092=127.0.0.1:{19092+node}'", hostport.WithoutUser(text))
		}
		o.Dial = append(o.Dial, config.DialRule{Match: match, To: to})
	}
	if home, err := os.UserHomeDir(); err == nil && strings.HasPrefix(f.via.URL, "ssh:") && f.via.KnownHosts == "" {
		o.Via.KnownHosts = filepath.Join(home, ".ssh", "known_hosts")
	}
	return nil
}

// security reads the flags of TLS and SASL, which win over --config-from's.
func (f *connectFlags) security(ctx context.Context, o *connect.Options) error {
	if given := (config.UpstreamTLS{CA: f.ca, Cert: f.cert, Key: f.key, ServerName: f.serverName, InsecureSkipVerify: f.insecure}); f.tls || given != (config.UpstreamTLS{}) {
		o.TLS = connect.Override(o.TLS, given)
	}
	switch {
	case f.sasl != "":
		password, err := f.password(ctx)
		if err != nil {
			return err
		}
		o.SASL = &config.SASL{
			Mechanism: strings.ToUpper(f.sasl), Username: f.username, AllowPlaintext: f.allowPlaintext,
			Password: password,
			OAuth:    config.OAuth{TokenFile: f.tokenFile},
			AWS:      config.AWS{Region: f.awsRegion, Profile: f.awsProfile},
		}
	case f.username != "" || f.passwordFile != "" || f.passwordEnv != "" || f.tokenFile != "":
		return errors.New("there is a login, and not by which mechanism; add --sasl PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER")
	case o.SASL != nil && f.allowPlaintext:
		o.SASL.AllowPlaintext = true
	}
	return nil
}

// password is the place of the password. A pipe is read now, because each login needs it.
func (f *connectFlags) password(ctx context.Context) (config.Secret, error) {
	if f.passwordFile == "" || f.passwordEnv != "" || !files.IsPipe(ctx, f.passwordFile) {
		return config.Secret{File: f.passwordFile, Env: f.passwordEnv}, nil
	}
	text, err := files.ReadSecretArgument(ctx, f.passwordFile, maxPassword)
	if err != nil {
		return config.Secret{}, fmt.Errorf("--password-file: %w", err)
	}
	return config.Secret{Text: text}, nil
}

func (f *connectFlags) listening(o *connect.Options) error {
	const mostPort = 65000 // with room for the nodes' ports behind it
	switch {
	case f.port < 0 || f.port > mostPort:
		return fmt.Errorf("--port: %d leaves no room for the nodes' ports behind it; write one of 1-%d", f.port, mostPort)
	case f.listen == "":
		o.Listen, o.Advertise = connect.Loopback(), "localhost"
	case hostport.IsWildcard(f.listen) && f.advertise == "":
		return fmt.Errorf("--listen %s: a wildcard cannot be advertised to clients; add --advertise with the name by which they reach this machine, such as host.docker.internal", f.listen)
	default:
		o.Listen, o.Advertise = []string{hostport.Canonical(f.listen)}, hostport.Canonical(f.listen)
	}
	if f.advertise != "" {
		o.Advertise = hostport.Canonical(f.advertise)
	}
	return nil
}
