package via_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"kproxy/internal/via"
	"kproxy/internal/via/viatest"
)

// If a proxy repeats the login in its response, it is not in the error.
func TestProxiesThatRepeatThePassword(t *testing.T) {
	const password = "hunter22"
	host := viatest.NewKey(t)
	connect := viatest.NewGate(t, func(conn net.Conn) {
		request, err := http.ReadRequest(bufio.NewReader(conn))
		if err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 407 "+request.Header.Get("Proxy-Authorization")+" is "+password+"\r\n\r\n")
		}
	})
	nonsense := viatest.NewGate(t, func(conn net.Conn) {
		request, err := http.ReadRequest(bufio.NewReader(conn))
		if err == nil {
			_, _ = io.WriteString(conn, request.Header.Get("Proxy-Authorization")+" is "+password+"\r\n\r\n")
		}
	})
	shell := viatest.NewGate(t, func(conn net.Conn) {
		config := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, nil }}
		config.AddHostKey(host.Signer)
		_, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for offer := range channels {
			_ = offer.Reject(ssh.Prohibited, "not with "+password)
		}
	})
	base := viatest.SSHConfig(t, shell, host, host)
	base.KeyFile, base.PasswordFile = "", viatest.File(t, password)
	for name, c := range map[string]via.Config{
		"a status":      {URL: "http://u@" + connect.Address, PasswordFile: viatest.File(t, password)},
		"no status":     {URL: "http://u@" + nonsense.Address, PasswordFile: viatest.File(t, password)},
		"SSH's refusal": base,
	} {
		_, err := viatest.Outcome(t, t.Context(), viatest.Dialer(t, c), viatest.FarName+":9092")
		if text := err.Error(); !strings.Contains(text, "[secret]") || strings.Contains(text, password) || strings.Contains(text, "dTpodW50ZXIyMg") {
			t.Errorf("%s: got %s", name, text)
		}
	}
}
