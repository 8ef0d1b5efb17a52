package simulate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// call is one use of an exchange. Its token is in the response, so that no two responses are
// alike.
type call struct {
	name          string
	correlationID int32
	token         int32
	size          int    // bytes of its records
	own           bool   // kproxy itself responds
	auth          []byte // the token of a login: the client's in a request, the broker's in a response
	mechanism     string // of a login
	raw           bool   // a token without headers
}

// place is a broker as it advertises itself.
type place struct {
	node int32
	host string
	port int32
}

// exchange is a request, and the response of a broker.
type exchange struct {
	version  int16
	request  func(c call) kmsg.Request
	response func(c call, brokers []place) kmsg.Response // nil: there is none
	records  func(resp kmsg.Response) []byte             // those of the response; nil: it has none
}

// exchanges are of every kind: responses that pass unread, and those that are rewritten by
// their head, as a whole, by their tail, or setting by setting; one that kproxy itself gives;
// and a request without a response.
var exchanges = map[string]exchange{
	"heartbeat":   {version: 4, request: plain(kmsg.Heartbeat), response: throttled(kmsg.Heartbeat)},
	"versions":    {version: 3, request: plain(kmsg.ApiVersions), response: versions},
	"metadata":    {version: 12, request: plain(kmsg.Metadata), response: metadata},
	"oldmetadata": {version: 3, request: plain(kmsg.Metadata), response: metadata},
	"cluster":     {version: 1, request: plain(kmsg.DescribeCluster), response: describeCluster},
	"coordinator": {version: 4, request: plain(kmsg.FindCoordinator), response: coordinators},
	"settings":    {version: 4, request: plain(kmsg.DescribeConfigs), response: settings},
	"fetch":       {version: 17, request: plain(kmsg.Fetch), response: fetch, records: fetched},
	"oldfetch":    {version: 11, request: plain(kmsg.Fetch), response: fetch, records: fetched},
	"produce":     {version: 10, request: produce(-1), response: produced},
	"silent":      {version: 8, request: produce(0)},
	// kproxy responds itself: UNSUPPORTED_VERSION.
	future:     {version: 99, request: plain(kmsg.ApiVersions), response: versions},
	shake:      {version: 1, request: shakeRequest, response: shakenBy},
	rawShake:   {version: 0, request: shakeRequest, response: shakenBy},
	firstToken: {version: 2, request: tokenRequest, response: tokenResponse},
	login:      {version: 2, request: tokenRequest, response: tokenResponse},
	badLogin:   {version: 2, request: tokenRequest, response: tokenResponse},
}

const future = "future"

// exchangeNames lists the exchanges but those of logins, in one order.
var exchangeNames = slices.DeleteFunc(slices.Sorted(maps.Keys(exchanges)), isLogin)

func plain(key kmsg.Key) func(call) kmsg.Request {
	return func(call) kmsg.Request { return key.Request() }
}

func throttled(key kmsg.Key) func(call, []place) kmsg.Response {
	return func(call, []place) kmsg.Response { return key.Response() }
}

// noise is what records are made of.
var noise = func() []byte {
	b, numbers := make([]byte, 512<<10), random(1, 1)
	for i := range b {
		b[i] = byte(numbers.Uint32())
	}
	return b
}()

// recordBytes are the records of one call.
func recordBytes(token int32, size int) []byte { return noise[token%4096:][:size] }

func produce(acks int16) func(call) kmsg.Request {
	return func(c call) kmsg.Request {
		req := kmsg.NewPtrProduceRequest()
		req.Acks = acks
		partition := kmsg.NewProduceRequestTopicPartition()
		partition.Records = recordBytes(c.token, c.size)
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic, topic.Partitions = "t", append(topic.Partitions, partition)
		req.Topics = append(req.Topics, topic)
		return req
	}
}

func produced(_ call, brokers []place) kmsg.Response {
	resp := kmsg.NewPtrProduceResponse()
	for _, b := range brokers {
		hint := kmsg.NewProduceResponseBroker()
		hint.NodeID, hint.Host, hint.Port = b.node, b.host, b.port
		resp.Brokers = append(resp.Brokers, hint)
	}
	return resp
}

func fetch(c call, brokers []place) kmsg.Response {
	resp := kmsg.NewPtrFetchResponse()
	partition := kmsg.NewFetchResponseTopicPartition()
	partition.RecordBatches = recordBytes(c.token, c.size)
	topic := kmsg.NewFetchResponseTopic()
	topic.Topic, topic.Partitions = "t", append(topic.Partitions, partition)
	resp.Topics = append(resp.Topics, topic)
	for _, b := range brokers {
		hint := kmsg.NewFetchResponseBroker()
		hint.NodeID, hint.Host, hint.Port = b.node, b.host, b.port
		resp.Brokers = append(resp.Brokers, hint)
	}
	return resp
}

func fetched(resp kmsg.Response) []byte {
	fetch, ok := resp.(*kmsg.FetchResponse)
	if !ok || len(fetch.Topics) != 1 || len(fetch.Topics[0].Partitions) != 1 {
		return nil
	}
	return fetch.Topics[0].Partitions[0].RecordBatches
}

// spoken are the APIs of the brokers, with their newest versions.
var spoken = map[kmsg.Key]int16{
	kmsg.Produce: 10, kmsg.Fetch: 17, kmsg.Metadata: 12, kmsg.FindCoordinator: 4, kmsg.Heartbeat: 4, kmsg.SASLHandshake: 1,
	kmsg.ApiVersions: 3, kmsg.DescribeConfigs: 4, kmsg.SASLAuthenticate: 2, kmsg.DescribeCluster: 1,
}

func versions(call, []place) kmsg.Response {
	resp := kmsg.NewPtrApiVersionsResponse()
	for key, newest := range spoken {
		resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: key.Int16(), MaxVersion: newest})
	}
	return resp
}

func metadata(_ call, brokers []place) kmsg.Response {
	resp := kmsg.NewPtrMetadataResponse()
	resp.ClusterID = new("simulated")
	for _, b := range brokers {
		named := kmsg.NewMetadataResponseBroker()
		named.NodeID, named.Host, named.Port = b.node, b.host, b.port
		resp.Brokers = append(resp.Brokers, named)
	}
	return resp
}

func describeCluster(_ call, brokers []place) kmsg.Response {
	resp := kmsg.NewPtrDescribeClusterResponse()
	for _, b := range brokers {
		named := kmsg.NewDescribeClusterResponseBroker()
		named.NodeID, named.Host, named.Port = b.node, b.host, b.port
		resp.Brokers = append(resp.Brokers, named)
	}
	return resp
}

func coordinators(c call, brokers []place) kmsg.Response {
	resp := kmsg.NewPtrFindCoordinatorResponse()
	for _, b := range brokers {
		named := kmsg.NewFindCoordinatorResponseCoordinator()
		named.Key, named.NodeID, named.Host, named.Port = string(recordBytes(c.token, c.size)), b.node, b.host, b.port
		resp.Coordinators = append(resp.Coordinators, named)
	}
	return resp
}

func settings(c call, brokers []place) kmsg.Response {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	resource := kmsg.NewDescribeConfigsResponseResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeBroker, "0"
	for _, b := range brokers {
		setting := kmsg.NewDescribeConfigsResponseResourceConfig()
		setting.Name, setting.Value = "advertised.listeners", new(fmt.Sprintf("PLAINTEXT://%s:%d", b.host, b.port))
		resource.Configs = append(resource.Configs, setting)
	}
	other := kmsg.NewDescribeConfigsResponseResourceConfig()
	other.Name, other.Value = "other", new(string(recordBytes(c.token, c.size)))
	resource.Configs = append(resource.Configs, other)
	resp.Resources = append(resp.Resources, resource)
	return resp
}

// requestFrame is the request of a call.
func requestFrame(clientID string, c call) []byte {
	if c.raw {
		return rawFrame(c.auth)
	}
	x := exchanges[c.name]
	req := x.request(c)
	req.SetVersion(x.version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, req, c.correlationID)
}

// responseFrame is a broker's response to a call.
func responseFrame(c call, brokers []place) []byte {
	if c.raw {
		return rawFrame(c.auth)
	}
	x := exchanges[c.name]
	resp := x.response(c, brokers)
	resp.SetVersion(x.version)
	if !isLogin(c.name) {
		reflect.ValueOf(resp).Elem().FieldByName("ThrottleMillis").SetInt(int64(c.token))
	}
	return frameOf(c.correlationID, resp)
}

// frameOf is a response as brokers write it.
func frameOf(correlationID int32, resp kmsg.Response) []byte {
	var payload []byte
	if flexibleHeader(resp) {
		payload = append(payload, 0)
	}
	payload = resp.AppendTo(payload)
	return append(wire.AppendResponsePrefix(nil, correlationID, len(payload)), payload...)
}

// flexibleHeader reports whether the header of a response ends in tags. That of ApiVersions
// never does.
func flexibleHeader(resp kmsg.Response) bool {
	return resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16()
}

// maxFrame is more than any frame of a simulation has.
const maxFrame = 16 << 20

// readFrame reads a frame, with its size. inside says that an error has cut it.
func readFrame(r io.Reader) (frame []byte, inside bool, err error) {
	var size [wire.SizeLen]byte
	if n, err := io.ReadFull(r, size[:]); err != nil {
		return nil, n > 0, err
	}
	n := wire.Size(size[:])
	if n < 0 || n > maxFrame {
		return nil, true, fmt.Errorf("a frame of %d bytes", n)
	}
	frame = append(size[:], make([]byte, n)...)
	if _, err = io.ReadFull(r, frame[wire.SizeLen:]); err != nil {
		return nil, true, err
	}
	return frame, false, nil
}

// judge returns the fault of a response as the client gets it; nil: it is right. advertised
// returns the address that the client's listener has for a node.
func judge(c call, frame []byte, advertised func(node int32) (host string, port int32)) error {
	if c.raw {
		return judgeRaw(c, frame)
	}
	if len(frame) < wire.ResponsePrefixLen {
		return fmt.Errorf("a response of %d bytes", len(frame))
	}
	if got := wire.CorrelationID(frame); got != c.correlationID {
		return fmt.Errorf("the correlation id is %d, want %d", got, c.correlationID)
	}
	if bytes.Contains(frame, []byte(brokerDomain)) {
		return errors.New("it has a broker's own name")
	}
	x := exchanges[c.name]
	req := x.request(c)
	resp := req.ResponseKind()
	resp.SetVersion(x.version)
	body := frame[wire.ResponsePrefixLen:]
	if c.name == future {
		resp.SetVersion(0)
	}
	if flexibleHeader(resp) {
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return fmt.Errorf("it cannot be read: %w", err)
	}
	if c.name == future {
		if code := resp.(*kmsg.ApiVersionsResponse).ErrorCode; code != kerr.UnsupportedVersion.Code { //nolint:forcetypeassert // it is of this kind
			return fmt.Errorf("error code %d", code)
		}
		return nil
	}
	if isLogin(c.name) {
		return judgeLogin(c, resp)
	}
	if got := reflect.ValueOf(resp).Elem().FieldByName("ThrottleMillis").Int(); got != int64(c.token) {
		return fmt.Errorf("it is the response to another request: token %d, want %d", got, c.token)
	}
	if x.records != nil && !bytes.Equal(x.records(resp), recordBytes(c.token, c.size)) {
		return errors.New("its records have changed")
	}
	return walk(reflect.ValueOf(resp), advertised)
}

// walk returns an error for the first address in a response that is not the listener's.
func walk(v reflect.Value, advertised func(node int32) (host string, port int32)) error {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return walk(v.Elem(), advertised)
		}
	case reflect.String:
		if strings.Contains(v.String(), brokerDomain) {
			return fmt.Errorf("it has a broker's own name: %s", v.String())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return nil
		}
		for i := range v.Len() {
			if err := walk(v.Index(i), advertised); err != nil {
				return err
			}
		}
	case reflect.Struct:
		return walkStruct(v, advertised)
	default:
	}
	return nil
}

func walkStruct(v reflect.Value, advertised func(node int32) (host string, port int32)) error {
	node, host, port := v.FieldByName("NodeID"), v.FieldByName("Host"), v.FieldByName("Port")
	if node.IsValid() && host.IsValid() && port.IsValid() && host.String() != "" {
		wantHost, wantPort := advertised(int32(node.Int()))
		if host.String() != wantHost || port.Int() != int64(wantPort) {
			return fmt.Errorf("node %d has the address %s:%d, want %s:%d", node.Int(), host, port.Int(), wantHost, wantPort)
		}
	}
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			if err := walk(v.Field(i), advertised); err != nil {
				return err
			}
		}
	}
	return nil
}
