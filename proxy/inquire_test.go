package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// What is no response to a question is kept as far as it comes at once: it tells what is there.
func TestInquireWhatIsNotKafka(t *testing.T) {
	const page = "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n"
	for name, tt := range map[string]struct {
		sent  []string
		ends  bool
		isTLS bool
	}{
		"an alert of TLS, and the end": {[]string{"\x15\x03\x03\x00\x02\x02\x28"}, true, true},
		"a page in two parts":          {[]string{page[:8], page[8:]}, false, false},
		"a page, and the end":          {[]string{page}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer func() { _ = c.Close() }()
				if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
					return
				}
				for _, part := range tt.sent {
					_, _ = io.WriteString(c, part)
				}
				if tt.ends {
					_ = c.(*net.TCPConn).CloseWrite()
				}
				_, _ = io.Copy(io.Discard, c)
			}()
			p, err := proxy.New(&proxy.Config{Config: config.Config{Clusters: []config.Cluster{{
				Name: "c", Bootstrap: []string{l.Addr().String()},
				Listeners: []config.Listener{{Name: "l", Bind: "127.0.0.1:1", Nodes: config.Nodes{Ports: config.Range{First: 2, Last: 9}}}},
			}}}})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Shutdown(context.Background())
			i, err := p.Inquire(t.Context(), "c", proxy.NoNode, l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer i.Close()
			versions := kmsg.NewPtrApiVersionsRequest()
			err = i.Ask(t.Context(), versions, versions.ResponseKind())
			other, ok := errors.AsType[*proxy.NotKafkaError](err)
			want := ""
			for _, part := range tt.sent {
				want += part
			}
			if !ok || string(other.Prefix) != want || other.IsTLS() != tt.isTLS || len(other.Error()) > 60 {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}
