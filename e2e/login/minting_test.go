//go:build e2e

package login

import (
	"encoding/binary"
	"io"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"kproxy/internal/auth"
)

// minting tries each way to a login of kproxy's own, as a client does that ignores
// ApiVersions.
func (s *site) minting(t *testing.T) {
	for _, security := range []string{"SASL_PLAINTEXT", "SASL_SSL"} {
		for mechanism := range mechanisms {
			w := way{security, byKproxy, mechanism}
			t.Run(w.String(), func(t *testing.T) { mint(t, s.access(w, "minting")) })
		}
	}
}

func mint(t *testing.T, a *access) {
	t.Helper()
	conn, err := a.dialSecure(t.Context(), "tcp", a.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(toolTimeout))
	alter := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	alter.Upsertions = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion{{Name: "eve", Mechanism: 1, Iterations: 4096, Salt: []byte("salt"), SaltedPassword: make([]byte, 32)}}
	for i, req := range []kmsg.Request{
		kmsg.NewPtrCreateDelegationTokenRequest(), kmsg.NewPtrRenewDelegationTokenRequest(), kmsg.NewPtrExpireDelegationTokenRequest(), kmsg.NewPtrDescribeDelegationTokenRequest(),
		kmsg.NewPtrDescribeUserSCRAMCredentialsRequest(), alter,
	} {
		req.SetVersion(req.MaxVersion())
		resp := ask(t, conn, req, int32(i))
		at := reflect.ValueOf(resp).Elem()
		if altered, ok := resp.(*kmsg.AlterUserSCRAMCredentialsResponse); ok && len(altered.Results) == 1 {
			at = reflect.ValueOf(altered.Results[0])
		}
		if code := at.FieldByName("ErrorCode"); !code.IsValid() || code.Int() != int64(kerr.ClusterAuthorizationFailed.Code) {
			t.Errorf("%s: got %+v", kmsg.NameForKey(req.Key()), resp)
		}
	}
}

// ask sends a request of a flexible version.
func ask(t *testing.T, conn net.Conn, req kmsg.Request, id int32) kmsg.Response {
	t.Helper()
	name := kmsg.NameForKey(req.Key())
	if _, err := conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, id)); err != nil {
		t.Fatal(err)
	}
	var prefix [8]byte
	if _, err := io.ReadFull(conn, prefix[:]); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	payload := make([]byte, binary.BigEndian.Uint32(prefix[:])-4)
	if _, err := io.ReadFull(conn, payload); err != nil {
		t.Fatal(err)
	}
	resp := req.ResponseKind()
	if err := resp.ReadFrom(payload[1:]); err != nil { // behind the header's tags
		t.Fatalf("%s: %v", name, err)
	}
	return resp
}

// delegationToken makes a client create a token for itself, and log in by it: with the
// client's own login, both succeed.
func (s *site) delegationToken(t *testing.T) {
	w := way{"SASL_SSL", passed, auth.ScramSHA256}
	admin := kadm.NewClient(franzClient(t, s.access(w, "delegation-token")))
	made, err := admin.CreateDelegationToken(t.Context(), kadm.CreateDelegationToken{MaxLifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	a := s.access(w, "by-delegation-token")
	by := scram.Auth{User: made.TokenID, Pass: string(made.HMAC), IsToken: true}.AsSha256Mechanism()
	if err := franzClient(t, a, kgo.SASL(by)).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
