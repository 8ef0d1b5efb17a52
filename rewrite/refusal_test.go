package rewrite_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/kmsglab"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// repeated are the fields in which a response repeats a request's names.
var repeated = []string{"Topic", "TopicID", "Partition", "ResourceType", "ResourceName", "Group", "GroupID", "User", "Name", "Key", "Type", "TransactionalID", "ProducerID"}

// lists are the fields in which requests and responses list such things.
var lists = []string{
	"Topics", "TopicNames", "Partitions", "Resources", "Groups", "GroupIDs", "Results", "Deletions", "Upsertions", "Markers",
	"Entries", "Entity", "Coordinators", "CoordinatorKeys", "TransactionalIDs", "TransactionStates", "Dirs",
}

// items are the names and numbers of a message's items, in order. Fields before the items
// are not included.
func items(v reflect.Value, depth int, into *[]string) {
	switch v = reflect.Indirect(v); v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			items(v.Index(i), depth+1, into)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, f := v.Type().Field(i).Name, reflect.Indirect(v.Field(i))
			switch {
			case !f.IsValid() || f.IsZero():
			case slices.Contains(lists, name) && f.Kind() == reflect.Slice:
				items(f, depth, into)
			case slices.Contains(repeated, name) && depth > 0:
				*into = append(*into, fmt.Sprint(f))
			}
		}
	case reflect.String, reflect.Int32:
		*into = append(*into, fmt.Sprint(v))
	default:
	}
}

func itemsOf(msg any) (all []string) {
	items(reflect.ValueOf(msg), 0, &all)
	return all
}

// namesOf is itemsOf of a request, without the fields that responses do not repeat.
func namesOf(req kmsg.Request) []string {
	switch req := req.(type) {
	case *kmsg.OffsetFetchRequest:
		for i := range req.Groups {
			req.Groups[i].Topics = nil
		}
	case *kmsg.DescribeShareGroupOffsetsRequest:
		for i := range req.Groups {
			req.Groups[i].Topics = nil
		}
	case *kmsg.CreateTopicsRequest:
		for i := range req.Topics {
			req.Topics[i].ReplicaAssignment = nil
		}
	}
	return itemsOf(req)
}

// codes are the errors of a response, of the whole first, and then of its items.
func codes(v reflect.Value) (all []int64) {
	switch v = reflect.Indirect(v); v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, codes(v.Index(i))...)
		}
	case reflect.Struct:
		if code := v.FieldByName("ErrorCode"); code.IsValid() {
			all = append(all, code.Int())
		}
		for _, f := range v.Fields() {
			if f.Kind() == reflect.Slice {
				all = append(all, codes(f)...)
			}
		}
	default:
	}
	return all
}

// Every API can be refused in every version, by a response that kmsg reads to the
// last byte. It has an error for the whole, or it has each item of the request,
// with an error: a client would read anything else as a success.
func TestEveryVersionCanBeRefused(t *testing.T) {
	for key := range kmsglab.Keys() {
		for req := range kmsglab.Requests(key) {
			version := req.GetVersion()
			name := fmt.Sprintf("%s v%d", kmsg.NameForKey(key), version)
			body := req.AppendTo(nil)
			payload, err := rewrite.Refusal(key, version, body)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			resp := decodeRefusal(t, key, version, payload)
			said := codes(reflect.ValueOf(resp))
			whole := reflect.ValueOf(resp).Elem().FieldByName("ErrorCode")
			if whole.IsValid() {
				said = said[1:]
				if whole.Int() != 0 {
					continue
				}
			}
			if len(said) == 0 || slices.Contains(said, 0) {
				t.Errorf("%s: got errors %v, want one for each item", name, said)
			}
			checkItems(t, name, body, req, resp)
		}
	}
}

func checkItems(t *testing.T, name string, body []byte, req kmsg.Request, resp kmsg.Response) {
	t.Helper()
	sent := kmsg.RequestForKey(req.Key())
	sent.SetVersion(req.GetVersion())
	if err := sent.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	switch resp := resp.(type) {
	case *kmsg.CreateACLsResponse: // by place
		if len(resp.Results) != 2 {
			t.Errorf("%s: got %d results, want 2", name, len(resp.Results))
		}
	case *kmsg.DeleteACLsResponse:
		if len(resp.Results) != 2 {
			t.Errorf("%s: got %d results, want 2", name, len(resp.Results))
		}
	case *kmsg.DescribeLogDirsResponse: // the request has topics, the response directories
	default:
		got, want := itemsOf(resp), namesOf(sent)
		if req.Key() == kmsg.Metadata.Int16() { // the id comes first in the request, and the name in the response
			slices.Sort(got)
			slices.Sort(want)
		}
		if !slices.Equal(got, want) || len(got) == 0 {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	for n := range body {
		if _, err := rewrite.Refusal(req.Key(), req.GetVersion(), body[:n]); err != nil && !errors.Is(err, wire.ErrShort) && !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s, cut to %d bytes: %v", name, n, err)
		}
	}
}

// A broker has specific errors for topics' settings, for those of groups, and for
// producers with transactions.
func TestRefusalsHaveTheBrokersErrors(t *testing.T) {
	configs := kmsg.NewPtrDescribeConfigsRequest()
	for _, kind := range []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeGroupConfig} {
		configs.Resources = append(configs.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: kind, ResourceName: "r"})
	}
	for _, tt := range []struct {
		req  kmsg.Request
		want []*kerr.Error
	}{
		{configs, []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.GroupAuthorizationFailed}},
		{kmsg.NewPtrInitProducerIDRequest(), []*kerr.Error{kerr.ClusterAuthorizationFailed}},
		{&kmsg.InitProducerIDRequest{TransactionalID: new("t")}, []*kerr.Error{kerr.TransactionalIDAuthorizationFailed}},
		{&kmsg.DescribeGroupsRequest{Groups: []string{"g"}}, []*kerr.Error{kerr.GroupAuthorizationFailed}},
	} {
		payload, err := rewrite.Refusal(tt.req.Key(), 0, tt.req.AppendTo(nil))
		if err != nil {
			t.Fatal(err)
		}
		var want []int64
		for _, e := range tt.want {
			want = append(want, int64(e.Code))
		}
		if got := codes(reflect.ValueOf(decodeRefusal(t, tt.req.Key(), 0, payload))); !slices.Equal(got, want) {
			t.Errorf("%s: got errors %v, want %v", kmsg.NameForKey(tt.req.Key()), got, want)
		}
	}
}

// decodeRefusal reads a refusal as a client does, and checks that it has an error.
func decodeRefusal(t *testing.T, key, version int16, payload []byte) kmsg.Response {
	t.Helper()
	resp := kmsg.ResponseForKey(key)
	resp.SetVersion(version)
	rest := payload
	if resp.IsFlexible() && key != kmsg.ApiVersions.Int16() {
		rest = rest[1:]
	}
	if err := resp.ReadFrom(rest); err != nil {
		t.Fatalf("%s v%d: %v in % x", kmsg.NameForKey(key), version, err, payload)
	}
	if again := resp.AppendTo(nil); !bytes.Equal(again, rest) {
		t.Errorf("%s v%d: got % x, which is read as % x", kmsg.NameForKey(key), version, rest, again)
	}
	return resp
}

// A client's request is read within its bytes, and in time linear in them.
func FuzzRefusal(f *testing.F) {
	for key := range kmsglab.Keys() {
		for req := range kmsglab.Requests(key) {
			f.Add(key, req.GetVersion(), req.AppendTo(nil))
		}
	}
	f.Add(kmsg.CreateTopics.Int16(), int16(7), []byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		payload, err := rewrite.Refusal(key, version, body)
		if err != nil {
			return
		}
		decodeRefusal(t, key, version, payload)
		if len(payload) > 400+100*len(body) {
			t.Errorf("%d bytes are answered with %d", len(body), len(payload))
		}
	})
}

func TestRefusalsOfLogins(t *testing.T) {
	for version := range int16(2) {
		payload, err := rewrite.IllegalSASLState(kmsg.SASLHandshake.Int16(), version)
		if err != nil || !bytes.HasPrefix(payload, []byte{0, byte(kerr.IllegalSaslState.Code)}) {
			t.Errorf("v%d: got % x, %v", version, payload, err)
		}
	}
	if _, err := rewrite.IllegalSASLState(kmsg.SASLHandshake.Int16(), 9); err == nil {
		t.Error("an unknown version has a response")
	}
}

// A request of many items in few bytes gets no response item by item: the response would
// have a sentence for each.
func TestRefusalIsBounded(t *testing.T) {
	many := func(n int) []byte {
		req := &kmsg.DeleteTopicsRequest{Version: 5, TopicNames: make([]string, n)}
		return req.AppendTo(nil)
	}
	if _, err := rewrite.Refusal(kmsg.DeleteTopics.Int16(), 5, many(5_000)); err != nil {
		t.Errorf("5,000 topics: %v", err)
	}
	body := many(wire.MaxElements)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	refused, err := rewrite.Refusal(kmsg.DeleteTopics.Int16(), 5, body)
	runtime.ReadMemStats(&after)
	if err == nil || errors.Is(err, wire.ErrMalformed) || refused != nil {
		t.Errorf("%d bytes of response, %v", len(refused), err)
	}
	if allocated, most := after.TotalAlloc-before.TotalAlloc, uint64(16<<20); allocated > most {
		t.Errorf("it allocates %d bytes, for a request of %d", allocated, len(body))
	}
}
