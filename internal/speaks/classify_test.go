package speaks

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// greetings are first bytes that real servers have sent, by kind.
var greetings = []struct {
	name, bytes string
	want        Kind
	text        string
}{
	{"nginx", "HTTP/1.1 400 Bad Request\r\nServer: nginx/1.25.3\r\nDate: x\r\n\r\n<html>", HTTP, "HTTP/1.1 400 Bad Request; Server: nginx/1.25.3"},
	{"no server header", "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nServer: no", HTTP, "HTTP/1.1 400 Bad Request"},
	{"HTTP/0.9", "<html><body>bad request</body></html>", HTTP, ""},
	{"HTTP/2", "\x00\x00\x12\x04\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 18), HTTP, ""},
	{"HTTP/2 goes away", "\x00\x00\x22\x07\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 34), HTTP, ""},
	{"OpenSSH", "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3\r\n", SSH, "SSH-2.0-OpenSSH_9.6p1 Ubuntu-3"},
	{"TLS alert", "\x15\x03\x03\x00\x02\x02\x28", TLS, ""},
	{"TLS handshake", "\x16\x03\x03\x00\x7a\x02", TLS, ""},
	{"MySQL 8", "\x4a\x00\x00\x00\x0a8.0.36\x00" + strings.Repeat("x", 60), MySQL, "8.0.36"},
	{"MariaDB", "\x5c\x00\x00\x00\x0a5.5.5-10.11.6-MariaDB\x00" + strings.Repeat("x", 60), MySQL, "5.5.5-10.11.6-MariaDB"},
	{"MySQL refuses the host", "\x45\x00\x00\x00\xff\x6a\x04Host '10.0.0.1' is not allowed to connect", MySQL, "Host '10.0.0.1' is not allowed to connect"},
	{"PostgreSQL", "E\x00\x00\x00\x6eSFATAL\x00VFATAL\x00C0A000\x00Munsupported frontend protocol 18.0\x00Fx.c\x00\x00", PostgreSQL, "unsupported frontend protocol 18.0"},
	{"Redis", "-ERR unknown command '\x00\x00'\r\n", Redis, "-ERR unknown command '"},
	{"Redis with a password", "-NOAUTH Authentication required.\r\n", Redis, "-NOAUTH Authentication required."},
	{"Postfix", "220 mail.example.com ESMTP Postfix\r\n", SMTP, "220 mail.example.com ESMTP Postfix"},
	{"SMTP that refuses", "554 mx.example.com no service\r\n", SMTP, "554 mx.example.com no service"},
	{"vsftpd", "220 (vsFTPd 3.0.5)\r\n", FTP, "220 (vsFTPd 3.0.5)"},
	{"ProFTPD", "220 ProFTPD Server (x) [10.0.0.1]\r\n", FTP, "220 ProFTPD Server (x) [10.0.0.1]"},
	{"Dovecot IMAP", "* OK [CAPABILITY IMAP4rev1] Dovecot ready.\r\n", IMAP, "* OK [CAPABILITY IMAP4rev1] Dovecot ready."},
	{"POP3", "+OK Dovecot ready.\r\n", POP3, "+OK Dovecot ready."},
	{"ZooKeeper", "Zookeeper version: 3.8.4-9316c2a\nLatency min/avg/max", ZooKeeper, "Zookeeper version: 3.8.4-9316c2a"},
	{"ZooKeeper's whitelist", "mntr is not executed because it is not in the whitelist.\n", ZooKeeper, "mntr is not executed because it is not in the whitelist."},
	{"ZooKeeper is ok", "imok", ZooKeeper, "imok"},
	{"a session of ZooKeeper", "\x00\x00\x00\x25\x00\x00\x00\x00\x00\x00\x75\x30" + strings.Repeat("\x01", 25), ZooKeeper, ""},
	{"PROXY header, version 1", "PROXY TCP4 10.0.0.1 10.0.0.2 56324 9092\r\n", ProxySent, "PROXY TCP4 10.0.0.1 10.0.0.2 56324 9092"},
	{"PROXY header, version 2", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", ProxySent, ""},
	{"RabbitMQ", "AMQP\x00\x00\x09\x01", AMQP, ""},
	{"nothing", "", Silent, ""},
	{"half a Kafka response", "\x00\x00\x00\x3c\x00\x00", Cut, ""},
	{"more than a Kafka response", "\x00\x00\x00\x04\x00\x00\x00\x01more", Unknown, `\x00\x00\x00\x04\x00\x00\x00\x01more`},
	{"anything", "\x00\x01\x02hello", Unknown, `\x00\x01\x02hello`},
}

func TestClassify(t *testing.T) {
	for _, tt := range greetings {
		if got := Classify([]byte(tt.bytes)); got.Kind != tt.want || got.Text != tt.text {
			t.Errorf("%s: got %q, %q; want %q, %q", tt.name, got.Kind, got.Text, tt.want, tt.text)
		}
	}
}

// For any bytes of a port, the text is one line of bounded length.
func FuzzClassify(f *testing.F) {
	for _, tt := range greetings {
		f.Add([]byte(tt.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := Classify(b)
		if n := utf8.RuneCountInString(p.Text); n > 2*maxText {
			t.Errorf("%d characters", n)
		}
		if i := strings.IndexFunc(p.Text, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%q holds %q", p.Text, p.Text[i:])
		}
		if p.Kind == NotAsked || len(b) == 0 != (p.Kind == Silent) {
			t.Errorf("%q is %q", b, p.Kind)
		}
		ClassifyResponse(b)
	})
}

// responseOf is a response to ApiVersions v0 with these keys.
func responseOf(keys ...kmsg.Key) []byte { return versionsOf(keys).AppendTo(nil) }

func versionsOf(keys []kmsg.Key) *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	for _, key := range keys {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey = key.Int16()
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	return resp
}

// The APIs of a broker and of a controller, as Kafka 4.1 lists them (a part of each).
var (
	brokersKeys     = []kmsg.Key{kmsg.Produce, kmsg.Fetch, kmsg.Metadata, kmsg.ApiVersions, kmsg.DescribeQuorum}
	controllersKeys = []kmsg.Key{kmsg.Fetch, kmsg.ApiVersions, kmsg.Vote, kmsg.BeginQuorumEpoch, kmsg.DescribeQuorum, kmsg.BrokerRegistration, kmsg.DescribeCluster}
)

func TestClassifyResponse(t *testing.T) {
	for name, tt := range map[string]struct {
		payload []byte
		want    Kind
	}{
		"a broker":     {responseOf(brokersKeys...), Kafka},
		"a controller": {responseOf(controllersKeys...), Controller},
		"an error":     {[]byte{0, 35, 0, 0, 0, 0}, Kafka},
		"cut":          {responseOf(brokersKeys...)[:9], Unknown},
	} {
		if got := ClassifyResponse(tt.payload); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
	for keys, want := range map[*[]kmsg.Key]bool{&brokersKeys: false, &controllersKeys: true} {
		if got := IsController(versionsOf(*keys)); got != want {
			t.Errorf("%v: a controller: %t", *keys, got)
		}
	}
}
