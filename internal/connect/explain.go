package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/auth"
	"kproxy/internal/foreign"
	"kproxy/internal/tlsconf"
	"kproxy/proxy"
)

// maxReason is the most characters of an error that a peer has a say in: a few
// lines of a screen.
const maxReason = 500

// explain adds to an error what the user can do.
func (a asker) explain(ctx context.Context, address string, err error) error {
	fix, err := a.advise(ctx, address, err)
	return fmt.Errorf("%w; %s", foreign.ErrorOf(err, maxReason), fix)
}

// advise says what is wrong at an address of the user's, and what the user can do.
func (a asker) advise(ctx context.Context, address string, err error) (fix string, wrong error) {
	login, isLogin := errors.AsType[*auth.LoginError](err)
	switch {
	case isLogin && login.Refused:
		return "see whether user and password are right", err
	case errors.Is(err, auth.ErrPlaintext) && !a.speaksTLS(ctx, address, err):
		return "use the port that speaks TLS and add --tls, or add --allow-plaintext if the network may see it", err
	case a.TLS == nil && a.speaksTLS(ctx, address, err):
		return "add --tls, and --ca if the system does not know who signs its certificates", errWantsTLS
	case isLogin && errors.Is(err, io.EOF): // that was the answer
		return "see whether user and password are right", err
	}
	if failed, ok := errors.AsType[*tlsconf.Error](err); ok {
		switch failed.Failure {
		case tlsconf.NotTLS, tlsconf.Ended, tlsconf.Timeout:
			if a.speaksPlaintext(ctx, address) {
				return "leave --tls out, or use the port that does", errNoTLS
			}
		case tlsconf.WrongName:
			return "connect by a name that the certificate has (where that does not lead there from here, kproxy connect has --dial 'NAME:PORT=ADDRESS'), or say one that all brokers have: --server-name NAME", err
		case tlsconf.Untrusted:
			return "name the file of the authority's certificate: --ca FILE", err
		default:
		}
	}
	if _, isDNS := errors.AsType[*net.DNSError](err); isDNS {
		return "the address itself has to work from here: look at its spelling, at the VPN, or go through another machine with --via", err
	}
	if advice := proxy.Advice(err); advice != "" && !strings.Contains(advice, "dial rule") {
		return advice, err
	}
	return "see whether the broker runs and whether a firewall lets this machine through, or go through another machine with --via", err
}

// What a port says of itself by its first bytes. Both are mistakes in TLS.
var (
	errWantsTLS = &portError{"the port wants TLS"}
	errNoTLS    = &portError{"the port does not speak TLS"}
)

type portError struct{ says string }

func (e *portError) Error() string { return e.says }

// speaksTLS reports whether a port that gave no Kafka answer speaks TLS. Nothing secret
// is sent.
func (a asker) speaksTLS(ctx context.Context, address string, err error) bool {
	if other, ok := errors.AsType[*proxy.NotKafkaError](err); ok {
		return other.IsTLS()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return false // nobody is there
	}
	secure := a.greetWith(ctx, address, &proxy.UpstreamTLS{InsecureSkipVerify: true})
	failed, isTLS := errors.AsType[*tlsconf.Error](secure)
	return secure == nil || isTLS && (failed.Failure == tlsconf.NoCertificate || failed.Failure == tlsconf.CertificateRefused || failed.Failure == tlsconf.UnknownName)
}

// speaksPlaintext reports whether a port gives a Kafka answer without TLS.
func (a asker) speaksPlaintext(ctx context.Context, address string) bool {
	return a.greetWith(ctx, address, nil) == nil
}

// greetWith asks an address for its versions with other TLS, and without a login, so that
// nothing secret is sent.
func (a asker) greetWith(ctx context.Context, address string, secure *proxy.UpstreamTLS) error {
	o := *a.Options
	o.TLS, o.SASL = secure, nil
	return o.ask(nil, func(a asker) error {
		ctx, cancel := context.WithTimeout(ctx, a.Timeout)
		defer cancel()
		i, err := a.proxy.Inquire(ctx, clusterName, proxy.NoNode, address)
		if err != nil {
			return err
		}
		defer i.Close()
		versions := kmsg.NewPtrApiVersionsRequest()
		return i.Ask(ctx, versions, versions.ResponseKind())
	})
}
