//go:build e2e

package doctor

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/net/dns/dnsmessage"

	"kproxy/e2e/lab"
)

// talk is a server's handler of a connection, which is closed after it.
type talk func(conn net.Conn)

// greetings are servers by the port of the servers' address. The bytes are those of the
// real servers, up to the point that a Kafka client reaches.
var greetings = map[int]talk{
	21:   says("220 (vsFTPd 3.0.5)\r\n"),
	25:   says("220 mail.example.com ESMTP Postfix (Debian/GNU)\r\n"),
	110:  says("+OK Dovecot (Debian) ready.\r\n"),
	143:  says("* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS AUTH=PLAIN] Dovecot (Debian) ready.\r\n"),
	3306: says("J\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00\x3a\x11\x26\x52\x61\x1a\x0c\x1e\x00\xff\xff\xff\x02\x00\xff\xdf\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x4c\x5b\x0f\x0d\x3e\x1b\x70\x66\x22\x51\x43\x2c\x00caching_sha2_password\x00"),
	5432: postgres,
	5672: afterFrame("AMQP\x00\x00\x09\x01"),
	6379: says("-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user.\r\n"),
	6380: redis,
	7000: hold,
	7001: func(net.Conn) {},
	7002: afterFrame(""),
	7003: func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.(*net.TCPConn).SetLinger(0)
	},
	7004: says("\x02HELLO example-daemon 1.2.3 ready\r\n"),
	7006: says("PROXY TCP4 203.0.113.200 203.0.113.30 40000 7006\r\n"),
	7005: func(conn net.Conn) { // a frame that never ends
		_, _ = conn.Read(make([]byte, 1))
		_, _ = conn.Write([]byte{0, 0, 0, 60, 0, 0})
		hold(conn)
	},
}

// says sends a greeting and waits for the client to go.
func says(greeting string) talk {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, greeting)
		hold(conn)
	}
}

// afterFrame sends bytes once the client has sent something.
func afterFrame(response string) talk {
	return func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, response)
	}
}

// hold reads until the client goes.
func hold(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// postgres refuses bytes that are no startup packet of its protocol, as PostgreSQL does.
func postgres(conn net.Conn) {
	var size uint32
	if binary.Read(conn, binary.BigEndian, &size) != nil || size < 8 || size > 10000 {
		return // PostgreSQL writes "invalid length of startup packet" to its own log
	}
	packet := make([]byte, size-4)
	if _, err := io.ReadFull(conn, packet); err != nil {
		return
	}
	version := binary.BigEndian.Uint32(packet)
	if version == 80877103 { // SSLRequest
		_, _ = conn.Write([]byte{'N'})
		hold(conn)
		return
	}
	var fields bytes.Buffer
	for _, field := range []string{
		"SFATAL", "VFATAL", "C0A000", "Funsupported frontend protocol " + fmt.Sprintf("%d.%d", version>>16, version&0xffff) + ": server supports 3.0 to 3.0",
		"Fpostmaster.c", "L2195", "RProcessStartupPacket",
	} {
		if strings.HasPrefix(field, "Funsupported") {
			field = "M" + field[1:]
		}
		fields.WriteString(field + "\x00")
	}
	fields.WriteByte(0)
	message := append([]byte{'E'}, binary.BigEndian.AppendUint32(nil, uint32(fields.Len()+4))...)
	_, _ = conn.Write(append(message, fields.Bytes()...))
}

// redis responds to lines only. A Kafka request has none.
func redis(conn net.Conn) {
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToUpper(word) {
		case "PING":
			_, err = io.WriteString(conn, "+PONG\r\n")
		case "":
		case "POST", "HOST:": // Redis's own guard against browsers
			return
		default:
			_, err = fmt.Fprintf(conn, "-ERR unknown command '%.128s', with args beginning with: \r\n", word)
		}
		if err != nil {
			return
		}
	}
}

// serve runs a talk for each connection to a port of the servers.
func (s *site) serve(t *testing.T, address string, do talk) {
	t.Helper()
	l := s.listen(t, address)
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with its client, or in its own time
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				do(conn)
			}()
		}
	}()
}

// startServers starts all servers that are no Kafka brokers.
func (s *site) startServers(t *testing.T) {
	t.Helper()
	for port, do := range greetings {
		s.serve(t, lab.HostPort(servers, port), do)
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "It works!\n") })
	identity := s.authority.Issue(t, nil, "www.example", "admin.www.example")
	secure := &tls.Config{Certificates: []tls.Certificate{identity.Pair}, MinVersion: tls.VersionTLS12}
	old := &tls.Config{Certificates: secure.Certificates, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	for port, config := range map[int]*tls.Config{80: nil, 443: secure, 444: old} {
		server := &http.Server{Handler: page, TLSConfig: config, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), ReadHeaderTimeout: time.Minute}
		l := s.listen(t, lab.HostPort(servers, port))
		if config != nil {
			l = tls.NewListener(l, config)
		}
		go func() { _ = server.Serve(l) }() // ends with the listener
		t.Cleanup(func() { server.Close() })
	}
	s.startBastions(t)
	s.startBalancer(t)
	s.startZooKeeper(t)
	s.startFakes(t)
}

// startBalancer starts HAProxy, with right and wrong ways to put it before brokers.
func (s *site) startBalancer(t *testing.T) {
	t.Helper()
	identity := s.authority.Issue(t, nil, "kafka.example")
	pem := s.files.Write(t, "balancer.pem", append(identity.KeyPEM, identity.CertPEM...))
	var config strings.Builder
	config.WriteString("global\n  nbthread 1\ndefaults\n  mode tcp\n  balance roundrobin\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n")
	front := func(port int, options string, target func(id int) string, more string) {
		fmt.Fprintf(&config, "listen p%d\n  bind %s:%d %s\n", port, balancer, port, options)
		for id := 1; id <= brokers; id++ {
			fmt.Fprintf(&config, "  server b%d %s %s\n", id, target(id), more)
		}
	}
	for _, name := range []string{"PLAIN", "BALANCED", "ONEMIXED"} {
		front(portOf(name), "", at(public, portOf(name)), "")
	}
	front(acceptsPROXY, "accept-proxy", at(public, 9092), "")
	front(sendsPROXY, "", at(public, 9092), "send-proxy")
	front(noBackend, "", at(public, closedPort), "")
	front(endsTLS, "ssl crt "+pem, at(public, 9092), "")
	fmt.Fprintf(&config, "listen http\n  mode http\n  bind %s:%d\n  server one %s:80\n", balancer, modeHTTP, servers)
	file := s.files.Write(t, "haproxy.cfg", []byte(config.String()))
	p := s.process(t, "haproxy", s.net, "haproxy", "-db", "-f", file)
	s.accepts(t, p, lab.HostPort(balancer, 9092))
}

// Ports of the balancer.
const (
	acceptsPROXY = 9201 // it wants a PROXY header
	sendsPROXY   = 9202 // it sends one to brokers, which do not want it
	noBackend    = 9203 // no server behind it is up
	endsTLS      = 9204 // it ends TLS before plaintext listeners
	modeHTTP     = 9205
)

// startZooKeeper starts the ZooKeeper of the last Kafka that came with one.
func (s *site) startZooKeeper(t *testing.T) {
	t.Helper()
	release, err := lab.NewRelease(t.Context(), "2.8.2")
	check(t, err)
	dir := t.TempDir()
	config := filepath.Join(dir, "zookeeper.properties")
	check(t, os.WriteFile(config, fmt.Appendf(nil, "dataDir=%s\nclientPortAddress=%s\nclientPort=2181\nadmin.enableServer=false\n", dir, servers), 0o600))
	p, err := lab.StartProcess("ZooKeeper", filepath.Join(dir, "log"),
		s.net.Command(s.java.Server(s.life, release.Classpath, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config)))
	check(t, err)
	t.Cleanup(p.Kill)
	s.accepts(t, p, lab.HostPort(servers, 2181))
}

// lies are fake clusters that advertise addresses that no Kafka broker would, by port.
var lies = map[int]struct {
	host string
	port int32
}{
	9301: {"0.0.0.0", 9301},
	9302: {"", 9302},
	9303: {"b1.kafka.example", 0},
	9304: {"b1; touch pwned\nadvertised.listeners=EVIL://evil.example:1\x1b[31m$(touch pwned)'", 9304},
	9305: {"", -1}, // an honest one, of another cluster
}

func (s *site) startFakes(t *testing.T) {
	t.Helper()
	for port, lie := range lies {
		id := "fake-cluster"
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.ClusterID(id), kfake.ListenFn(func(network, address string) (l net.Listener, err error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			err = s.net.Inside(func() (err error) {
				var lc net.ListenConfig
				l, err = lc.Listen(s.life, network, net.JoinHostPort(fakes, port))
				return err
			})
			return l, err
		}))
		check(t, err)
		t.Cleanup(c.Close)
		if lie.port < 0 {
			continue
		}
		c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			resp := req.ResponseKind().(*kmsg.MetadataResponse)
			b := kmsg.NewMetadataResponseBroker()
			b.Host, b.Port = lie.host, lie.port
			resp.ClusterID, resp.Brokers = &id, append(resp.Brokers, b)
			return resp, nil, true
		})
		c.ControlKey(int16(kmsg.DescribeCluster), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
			b := kmsg.NewDescribeClusterResponseBroker()
			b.Host, b.Port = lie.host, lie.port
			resp.ClusterID, resp.Brokers = id, append(resp.Brokers, b)
			return resp, nil, true
		})
	}
}

// serveNames is the user's name server: most names do not exist for it.
func (s *site) serveNames(t *testing.T) {
	t.Helper()
	var conn net.PacketConn
	check(t, s.me.Inside(func() (err error) {
		var lc net.ListenConfig
		conn, err = lc.ListenPacket(s.life, "udp", "127.0.0.1:53")
		return err
	}))
	var serving sync.WaitGroup
	serving.Go(func() { respondNames(conn) })
	t.Cleanup(func() {
		conn.Close()
		serving.Wait()
	})
}

// respondNames ends with the socket.
func respondNames(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		size, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		var m dnsmessage.Message
		if err != nil || m.Unpack(buf[:size]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		switch name := m.Questions[0].Name.String(); {
		case strings.Contains(name, "silent"):
			continue
		case strings.Contains(name, "broken"):
			m.RCode = dnsmessage.RCodeServerFailure
		default:
			m.RCode = dnsmessage.RCodeNameError
		}
		if response, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(response, from)
		}
	}
}
