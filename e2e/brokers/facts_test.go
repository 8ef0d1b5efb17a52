//go:build e2e

package brokers

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/rewrite"
)

// noCoordinator: a missing coordinator has the id -1, an empty name and the port -1,
// which must not be taken for a broker.
func noCoordinator(t *testing.T, c *cluster) {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.Version, req.CoordinatorKey = 1, "nobody"
	resp := ask[*kmsg.FindCoordinatorResponse](dial(t, c.plain(1)), req)
	if resp.ErrorCode != kerr.CoordinatorNotAvailable.Code || resp.NodeID != -1 || resp.Host != "" || resp.Port != -1 {
		t.Errorf("got %+v, want error %d and no address", resp, kerr.CoordinatorNotAvailable.Code)
	}
}

// oneRequestAtATime: a broker does not read a connection's next request before it has
// responded to the one before, so responses come in the order of the requests.
func oneRequestAtATime(t *testing.T, c *cluster) {
	const wait = 1500 * time.Millisecond
	conn := dial(t, c.plain(1))
	fetch := c.fetch(t, min(4, c.max(t, kmsg.Fetch)))
	fetch.MaxWaitMillis, fetch.MinBytes = int32(wait.Milliseconds()), 1<<20
	began := time.Now()
	first, versions := conn.send(fetch), kmsg.NewPtrApiVersionsRequest()
	second := conn.send(versions)
	response[*kmsg.FetchResponse](conn, fetch, first)
	response[*kmsg.ApiVersionsResponse](conn, versions, second)
	if took := time.Since(began); took < wait {
		t.Errorf("ApiVersions behind a Fetch that waits %v: answered after %v", wait, took)
	}
}

// closesWithoutResponse: a broker has no error for requests that it cannot read or does
// not know.
func closesWithoutResponse(t *testing.T, c *cluster) {
	header := func(key, version int16, body ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(10+len(body)))
		b = binary.BigEndian.AppendUint16(b, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		b = binary.BigEndian.AppendUint32(b, 1)
		return append(append(b, 0xff, 0xff), body...) // no client id
	}
	sends := []struct {
		name  string
		bytes []byte
	}{
		{"an unknown API", header(9999, 0)},
		{"an unknown version", header(kmsg.Metadata.Int16(), 999)},
		{"a body that is cut", header(kmsg.Metadata.Int16(), 1, 0, 0, 0, 9)},
		{"a negative size", []byte{0xff, 0xff, 0xff, 0xff}},
		{"a size above socket.request.max.bytes", []byte{0x7f, 0, 0, 0}},
		{"an empty frame", []byte{0, 0, 0, 0}},
		{"the hello of TLS", []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}},
	}
	if c.Release.AtLeast("4.0") {
		sends = append(sends, struct {
			name  string
			bytes []byte
		}{"a version that KIP-896 has removed", header(kmsg.Fetch.Int16(), 3)})
	}
	for _, s := range sends {
		t.Run(s.name, func(t *testing.T) {
			conn := dial(t, c.plain(1))
			conn.write(s.bytes)
			conn.wantClosed()
		})
	}
}

// apiVersionsOfTheFuture: the one API whose unknown version gets a response, in the
// layout of v0; from 2.4 on with the versions of ApiVersions itself (KIP-511).
func apiVersionsOfTheFuture(t *testing.T, c *cluster) {
	conn := dial(t, c.plain(1))
	var b []byte
	b = binary.BigEndian.AppendUint16(b, uint16(kmsg.ApiVersions.Int16()))
	b = binary.BigEndian.AppendUint16(b, 99)
	b = binary.BigEndian.AppendUint32(b, 7)
	b = append(b, 0xff, 0xff, 0, 1, 1, 0)
	conn.write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	got := conn.frame()
	resp := kmsg.NewPtrApiVersionsResponse()
	if err := resp.ReadFrom(got[4:]); err != nil {
		t.Fatalf("% x: %v", got, err)
	}
	var keys []int16
	for _, k := range resp.ApiKeys {
		keys = append(keys, k.ApiKey)
	}
	var want []int16
	if c.Release.AtLeast("2.4") {
		want = []int16{kmsg.ApiVersions.Int16()}
	}
	if resp.ErrorCode != kerr.UnsupportedVersion.Code || !slices.Equal(keys, want) {
		t.Errorf("got error %d, keys %v, want %d, %v", resp.ErrorCode, keys, kerr.UnsupportedVersion.Code, want)
	}
	// The connection is good for another try.
	ask[*kmsg.ApiVersionsResponse](conn, kmsg.NewPtrApiVersionsRequest())
}

// noTopicIsAskedFor: an empty list means no topics from Metadata v1 on, and all topics in
// v0.
func noTopicIsAskedFor(t *testing.T, c *cluster) {
	for version, want := range map[int16]bool{0: true, 1: false} {
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.Topics = version, []kmsg.MetadataRequestTopic{}
		resp := ask[*kmsg.MetadataResponse](dial(t, c.plain(1)), req)
		if got := len(resp.Topics) > 0; got != want || len(resp.Brokers) != size {
			t.Errorf("v%d: got %d topics and %d brokers, want topics: %t, brokers: %d", version, len(resp.Topics), len(resp.Brokers), want, size)
		}
	}
}

// acksZero: no response, and an error closes the connection.
func acksZero(t *testing.T, c *cluster) {
	version := min(8, c.max(t, kmsg.Produce))
	leader := dial(t, c.plain(1))
	leader.send(c.produce(t, version, 0))
	ask[*kmsg.ApiVersionsResponse](leader, kmsg.NewPtrApiVersionsRequest())
	other := dial(t, c.plain(2))
	other.send(c.produce(t, version, 0))
	other.wantClosed()
}

// hintsSince is the first release with leader hints (KIP-951).
const hintsSince = "3.7"

// produceHints: from v10 on, a broker that does not lead names the leader, with the
// address of the listener that got the request.
func produceHints(t *testing.T, c *cluster) {
	for version := max(3, c.min(t, kmsg.Produce)); version <= c.max(t, kmsg.Produce); version++ {
		resp := ask[*kmsg.ProduceResponse](dial(t, c.plain(2)), c.produce(t, version, 1))
		code := resp.Topics[0].Partitions[0].ErrorCode
		c.wantHint(t, fmt.Sprintf("Produce v%d", version), code, version >= 10, resp.Brokers)
	}
}

// fetchHints: the same from v16 on.
func fetchHints(t *testing.T, c *cluster) {
	for version := c.min(t, kmsg.Fetch); version <= c.max(t, kmsg.Fetch); version++ {
		resp := ask[*kmsg.FetchResponse](dial(t, c.plain(2)), c.outdatedFetch(t, version))
		code := resp.Topics[0].Partitions[0].ErrorCode
		var brokers []kmsg.ProduceResponseBroker
		for _, b := range resp.Brokers {
			brokers = append(brokers, kmsg.ProduceResponseBroker{NodeID: b.NodeID, Host: b.Host, Port: b.Port})
		}
		c.wantHint(t, fmt.Sprintf("Fetch v%d", version), code, version >= 16, brokers)
	}
}

// wantHint wants a response of broker 2 to name broker 1, or no broker.
func (c *cluster) wantHint(t *testing.T, what string, code int16, hint bool, brokers []kmsg.ProduceResponseBroker) {
	t.Helper()
	if code != kerr.NotLeaderForPartition.Code && code != kerr.FencedLeaderEpoch.Code {
		t.Errorf("%s: got error %d, want %d or %d", what, code, kerr.NotLeaderForPartition.Code, kerr.FencedLeaderEpoch.Code)
	}
	var got, want []string
	for _, b := range brokers {
		got = append(got, fmt.Sprintf("%d at %s:%d", b.NodeID, b.Host, b.Port))
	}
	if hint && c.Release.AtLeast(hintsSince) {
		want = []string{"1 at " + c.plain(1)}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s names %v, want %v", what, got, want)
	}
}

// throttledHints: a response that a quota holds back has lost its partitions and kept its
// hints, so "no error" does not mean "no address".
func throttledHints(t *testing.T, c *cluster) {
	const client = "wire-throttled"
	altered, err := c.Admin.AlterClientQuotas(t.Context(), []kadm.AlterClientQuotaEntry{{
		Entity: kadm.ClientQuotaEntity{{Type: "client-id", Name: new(client)}},
		Ops:    []kadm.AlterClientQuotaOp{{Key: "consumer_byte_rate", Value: 1}},
	}})
	if err == nil {
		err = altered[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, c.plain(2))
	conn.client = client
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		resp := ask[*kmsg.FetchResponse](conn, c.outdatedFetch(t, c.max(t, kmsg.Fetch)))
		if resp.ThrottleMillis > 0 && len(resp.Topics) == 0 {
			if len(resp.Brokers) != 1 {
				t.Errorf("throttled for %d ms: got %d leader hints, want 1", resp.ThrottleMillis, len(resp.Brokers))
			}
			return
		}
	}
	t.Error("no response was throttled")
}

// beforeLogin: one ApiVersions that succeeds, and nothing else.
func beforeLogin(t *testing.T, c *cluster) {
	t.Run("a second ApiVersions", func(t *testing.T) {
		conn := dial(t, c.sasl(1))
		ask[*kmsg.ApiVersionsResponse](conn, kmsg.NewPtrApiVersionsRequest())
		conn.send(kmsg.NewPtrApiVersionsRequest())
		conn.wantClosed()
	})
	t.Run("Metadata", func(t *testing.T) {
		conn := dial(t, c.sasl(1))
		req := kmsg.NewPtrMetadataRequest()
		req.Version = 1
		conn.send(req)
		conn.wantClosed()
	})
	t.Run("an unknown mechanism", func(t *testing.T) {
		conn := dial(t, c.sasl(1))
		req := kmsg.NewPtrSASLHandshakeRequest()
		req.Version, req.Mechanism = 1, "NONE-SUCH"
		resp := ask[*kmsg.SASLHandshakeResponse](conn, req)
		if resp.ErrorCode != kerr.UnsupportedSaslMechanism.Code || !slices.Equal(resp.SupportedMechanisms, []string{"PLAIN"}) {
			t.Errorf("got error %d, %v", resp.ErrorCode, resp.SupportedMechanisms)
		}
		conn.wantClosed()
	})
}

// handshakeV0: bare tokens behind their sizes follow it; PLAIN's response is an empty one, or
// the end of the connection.
func handshakeV0(t *testing.T, c *cluster) {
	for _, right := range []bool{true, false} {
		conn := dial(t, c.sasl(1))
		req := kmsg.NewPtrSASLHandshakeRequest()
		req.Mechanism = "PLAIN"
		if resp := ask[*kmsg.SASLHandshakeResponse](conn, req); resp.ErrorCode != 0 {
			t.Fatalf("SaslHandshake v0: error %d", resp.ErrorCode)
		}
		token := "\x00" + username + "\x00" + password
		if !right {
			token += "!"
		}
		conn.write(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...))
		if !right {
			conn.wantClosed()
			continue
		}
		if got := conn.frame(); len(got) > 0 {
			t.Errorf("the response to a PLAIN token: got % x, want none", got)
		}
		ask[*kmsg.ApiVersionsResponse](conn, kmsg.NewPtrApiVersionsRequest())
	}
}

// whoTheClientMeans: a client names the node and the cluster that it expects, and gets an
// error if they are wrong (KIP-1242).
func whoTheClientMeans(t *testing.T, c *cluster) {
	metadata, err := c.Admin.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := metadata.Cluster
	for _, check := range []struct {
		name    string
		cluster *string
		node    int32
		want    int16
	}{
		{"right", &id, 1, 0},
		{"another node", &id, 2, kerr.RebootstrapRequired.Code},
		{"another cluster", new("another"), 1, kerr.RebootstrapRequired.Code},
		{"nobody", nil, -1, 0},
		{"a node of no cluster", nil, 1, kerr.InvalidRequest.Code},
		{"a cluster without a node", &id, -1, kerr.InvalidRequest.Code},
	} {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 5, "wire", "1"
		req.ClusterID, req.NodeID = check.cluster, check.node
		resp := ask[*kmsg.ApiVersionsResponse](dial(t, c.plain(1)), req)
		if resp.ErrorCode != check.want {
			t.Errorf("%s: got error %d, want %d", check.name, resp.ErrorCode, check.want)
		}
	}
}

// whoTheClientMeansAtALogin: before a login any node of any cluster is accepted, and after
// it the broker checks them. So before a login a broker cannot be asked whether it is a
// certain node.
func whoTheClientMeansAtALogin(t *testing.T, c *cluster) {
	metadata, err := c.Admin.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range []struct {
		name    string
		cluster string
		node    int32
		after   int16
	}{
		{"right", metadata.Cluster, 1, 0},
		{"another node", metadata.Cluster, 2, kerr.RebootstrapRequired.Code},
		{"another cluster", "another", 1, kerr.RebootstrapRequired.Code},
	} {
		conn := dial(t, c.sasl(1))
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 5, "wire", "1"
		req.ClusterID, req.NodeID = &check.cluster, check.node
		if resp := ask[*kmsg.ApiVersionsResponse](conn, req); resp.ErrorCode != 0 {
			t.Errorf("%s, before the login: got error %d, want none", check.name, resp.ErrorCode)
		}
		conn.logIn()
		if resp := ask[*kmsg.ApiVersionsResponse](conn, req); resp.ErrorCode != check.after {
			t.Errorf("%s, after the login: got error %d, want %d", check.name, resp.ErrorCode, check.after)
		}
	}
}

// metadataBeforeLogin: the broker ends the connection in an orderly way.
func metadataBeforeLogin(t *testing.T, c *cluster) {
	for _, versionsFirst := range []bool{false, true} {
		conn := dial(t, c.sasl(1))
		if versionsFirst {
			ask[*kmsg.ApiVersionsResponse](conn, kmsg.NewPtrApiVersionsRequest())
		}
		req := kmsg.NewPtrMetadataRequest()
		req.Version = 4
		conn.send(req)
		if b, err := conn.tryFrame(); err != io.EOF { //nolint:errorlint // and no other
			t.Errorf("ApiVersions first %t: got % x, %v, want an orderly end", versionsFirst, b, err)
		}
	}
}

// telemetryWithoutReceiver: a broker without a receiver for clients' metrics does not offer
// to take them (KIP-714).
func telemetryWithoutReceiver(t *testing.T, c *cluster) {
	versions := c.versions(t)
	for _, key := range []kmsg.Key{kmsg.GetTelemetrySubscriptions, kmsg.PushTelemetry} {
		if _, ok := versions[key.Int16()]; ok {
			t.Errorf("%s: offered", key.Name())
		}
	}
}

// versions are the versions that broker 1 offers.
func (c *cluster) versions(t *testing.T) map[int16]kmsg.ApiVersionsResponseApiKey {
	t.Helper()
	resp := ask[*kmsg.ApiVersionsResponse](dial(t, c.plain(1)), kmsg.NewPtrApiVersionsRequest())
	versions := make(map[int16]kmsg.ApiVersionsResponseApiKey)
	for _, k := range resp.ApiKeys {
		versions[k.ApiKey] = k
	}
	return versions
}

func (c *cluster) max(t *testing.T, key kmsg.Key) int16 {
	t.Helper()
	return c.versions(t)[key.Int16()].MaxVersion
}

func (c *cluster) min(t *testing.T, key kmsg.Key) int16 {
	t.Helper()
	return c.versions(t)[key.Int16()].MinVersion
}

// topicID is the topic's; the zero id before 2.8.
func (c *cluster) topicID(t *testing.T) [16]byte {
	t.Helper()
	details, err := c.Admin.ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return details[topic].ID
}

// fetch asks for the topic from its beginning.
func (c *cluster) fetch(t *testing.T, version int16) *kmsg.FetchRequest {
	t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = version, 100, 0, 1<<20, -1
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic, ft.TopicID = topic, c.topicID(t)
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = 1 << 20
	ft.Partitions = append(ft.Partitions, p)
	req.Topics = append(req.Topics, ft)
	return req
}

// outdatedFetch is a Fetch by a client whose leader is from an earlier epoch. From v11 on
// a replica would serve others itself (KIP-392).
func (c *cluster) outdatedFetch(t *testing.T, version int16) *kmsg.FetchRequest {
	t.Helper()
	req := c.fetch(t, version)
	req.Topics[0].Partitions[0].CurrentLeaderEpoch = 0
	return req
}

// produce sends one record.
func (c *cluster) produce(t *testing.T, version, acks int16) *kmsg.ProduceRequest {
	t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, acks, 5000
	pt := kmsg.NewProduceRequestTopic()
	pt.Topic, pt.TopicID = topic, c.topicID(t)
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = oneRecord()
	pt.Partitions = append(pt.Partitions, p)
	req.Topics = append(req.Topics, pt)
	return req
}

// oneRecord is a batch of one record, in the format of Kafka 0.11 and later.
func oneRecord() []byte {
	const value = "one"
	record := []byte{0, 0, 0, 1, byte(len(value) << 1)} // attributes, deltas, no key, a value
	record = append(append(record, value...), 0)        // no headers
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1,
		Records: append([]byte{byte(len(record) << 1)}, record...),
	}
	b := batch.AppendTo(nil)
	const lengthEnd, crcStart, crcEnd = 12, 17, 21
	binary.BigEndian.PutUint32(b[lengthEnd-4:], uint32(len(b)-lengthEnd))
	binary.BigEndian.PutUint32(b[crcStart:], crc32.Checksum(b[crcEnd:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// addressesAmongSettings: DescribeConfigs has a broker's addresses, and those of controllers
// and ZooKeeper, only in settings that kproxy knows by name.
func addressesAmongSettings(t *testing.T, c *cluster) {
	newest := c.max(t, kmsg.DescribeConfigs)
	for version := range newest + 1 {
		if c.Release.AtLeast("4.0") && version == 0 {
			continue // KIP-896
		}
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.Version, req.IncludeSynonyms, req.IncludeDocumentation = version, true, true
		req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"}}
		conn := dial(t, c.plain(1))
		conn.send(req)
		payload := conn.frame()[4:]
		told := addressesIn(t, version, payload)
		if len(told) < 2 || !slices.Contains(told, "advertised.listeners") {
			t.Errorf("v%d: settings with addresses: got %v", version, told)
		}
		out, _, err := new(rewrite.Rewriter).Whole(req.Key(), version, payload)
		if err != nil {
			t.Fatal(err)
		}
		if left := addressesIn(t, version, out); len(left) > 0 {
			t.Errorf("v%d: kproxy leaves the addresses in %v", version, left)
		}
		t.Logf("v%d: %d bytes, addresses in %v", version, len(payload), told)
	}
}

// addressesIn are the names of the settings that have an address of the cluster's.
func addressesIn(t *testing.T, version int16, payload []byte) (names []string) {
	t.Helper()
	resp := kmsg.NewPtrDescribeConfigsResponse()
	resp.Version = version
	if resp.IsFlexible() {
		payload = payload[1:]
	}
	if err := resp.ReadFrom(payload); err != nil {
		t.Fatal(err)
	}
	has := func(value *string) bool { return value != nil && strings.Contains(*value, "127.0.0.1") }
	for _, config := range resp.Resources[0].Configs {
		found := has(config.Value)
		for _, synonym := range config.ConfigSynonyms {
			found = found || has(synonym.Value)
		}
		if found {
			names = append(names, config.Name)
		}
	}
	return names
}
