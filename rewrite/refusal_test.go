package rewrite_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// refusable are requests with two of everything.
func refusable() []kmsg.Request {
	id := [16]byte{1, 2, 3}
	config := func(name string) (c kmsg.CreateTopicsRequestTopicConfig) {
		c.Name, c.Value = name, new("v")
		return c
	}
	acl := kmsg.NewCreateACLsRequestCreation()
	acl.ResourceName, acl.Principal, acl.Host = "t", "User:u", "*"
	filter := kmsg.NewDeleteACLsRequestFilter()
	filter.ResourceName = new("t")
	return []kmsg.Request{
		&kmsg.ProduceRequest{Acks: 1, TransactionID: new("txn"), Topics: []kmsg.ProduceRequestTopic{
			{Topic: "a", TopicID: id, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 7, Records: []byte("records")}, {Partition: 8}}}, {Topic: "b"},
		}},
		&kmsg.CreateTopicsRequest{Topics: []kmsg.CreateTopicsRequestTopic{
			{
				Topic: "a", ReplicaAssignment: []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 1, Replicas: []int32{1, 2}}},
				Configs: []kmsg.CreateTopicsRequestTopicConfig{config("x"), config("y")},
			}, {Topic: "b"},
		}},
		&kmsg.DeleteTopicsRequest{TopicNames: []string{"a", "b"}, Topics: []kmsg.DeleteTopicsRequestTopic{{Topic: new("a")}, {TopicID: id}}},
		&kmsg.DeleteRecordsRequest{Topics: []kmsg.DeleteRecordsRequestTopic{{Topic: "a", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 1, Offset: 5}, {Partition: 2}}}, {Topic: "b"}}},
		&kmsg.CreatePartitionsRequest{Topics: []kmsg.CreatePartitionsRequestTopic{
			{Topic: "a", Count: 9, Assignment: []kmsg.CreatePartitionsRequestTopicAssignment{{Replicas: []int32{1, 2}}, {Replicas: []int32{3}}}}, {Topic: "b"},
		}},
		&kmsg.AlterConfigsRequest{Resources: []kmsg.AlterConfigsRequestResource{
			{ResourceType: 2, ResourceName: "a", Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "x", Value: new("v")}, {Name: "y"}}}, {ResourceType: 4, ResourceName: "1"},
		}},
		&kmsg.IncrementalAlterConfigsRequest{Resources: []kmsg.IncrementalAlterConfigsRequestResource{
			{ResourceType: 2, ResourceName: "a", Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "x", Op: 1, Value: new("v")}, {Name: "y"}}}, {ResourceType: 4, ResourceName: "1"},
		}},
		&kmsg.CreateACLsRequest{Creations: []kmsg.CreateACLsRequestCreation{acl, acl}},
		&kmsg.DeleteACLsRequest{Filters: []kmsg.DeleteACLsRequestFilter{filter, filter}},
		&kmsg.DeleteGroupsRequest{Groups: []string{"g", "h"}},
		&kmsg.OffsetCommitRequest{Group: "g", MemberID: "m", InstanceID: new("i"), Topics: []kmsg.OffsetCommitRequestTopic{
			{Topic: "a", TopicID: id, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 1, Offset: 5, Metadata: new("meta")}, {Partition: 2}}}, {Topic: "b"},
		}},
		&kmsg.AddPartitionsToTxnRequest{TransactionalID: "txn", Topics: []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "a", Partitions: []int32{1, 2}}, {Topic: "b"}}},
		&kmsg.AlterUserSCRAMCredentialsRequest{
			Deletions: []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "a"}}, Upsertions: []kmsg.AlterUserSCRAMCredentialsRequestUpsertion{{Name: "b", Salt: []byte("s"), SaltedPassword: []byte("p")}},
		},
	}
}

// items are the names, numbers and errors that a message repeats of its items, in
// order, as text.
func items(v reflect.Value, into *[]string) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			items(v.Elem(), into)
		}
	case reflect.Slice:
		for i := range v.Len() {
			items(v.Index(i), into)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			switch f := v.Type().Field(i); f.Name {
			case "Topic", "Partition", "ResourceName", "Group", "User", "Name":
				field := reflect.Indirect(v.Field(i))
				if field.IsValid() {
					*into = append(*into, fmt.Sprint(f.Name, "=", field))
				}
			case "Topics", "Partitions", "Resources", "Groups", "Results", "Deletions", "Upsertions", "Creations", "Filters":
				if v.Field(i).Kind() == reflect.Slice {
					items(v.Field(i), into)
				}
			}
		}
	case reflect.Int32: // AddPartitionsToTxn's partitions are numbers alone
		*into = append(*into, fmt.Sprint("Partition=", v))
	default:
	}
}

func itemsOf(msg any) (all []string) {
	items(reflect.ValueOf(msg), &all)
	return all
}

// Every version of a refused request gets an answer that kmsg reads, to the last
// byte, and that has each item of the request.
func TestRefusalAnswersEveryItem(t *testing.T) {
	for _, req := range refusable() {
		name := kmsg.NameForKey(req.Key())
		for version := range req.MaxVersion() + 1 {
			req.SetVersion(version)
			body := req.AppendTo(nil)
			payload, err := rewrite.Refusal(req.Key(), version, body)
			if err != nil {
				t.Errorf("%s v%d: %v", name, version, err)
				continue
			}
			resp := decodeRefusal(t, req.Key(), version, payload)
			sent := kmsg.RequestForKey(req.Key())
			sent.SetVersion(version)
			if err := sent.ReadFrom(body); err != nil {
				t.Fatal(err)
			}
			got, want := itemsOf(resp), itemsOf(sent)
			switch req.Key() {
			case kmsg.CreateACLs.Int16(), kmsg.DeleteACLs.Int16():
				want = nil // by place
				if n := reflect.ValueOf(resp).Elem().FieldByName("Results").Len(); n != 2 {
					t.Errorf("%s v%d: got %d results, want 2", name, version, n)
				}
			case kmsg.AlterUserSCRAMCredentials.Int16():
				want = []string{"User=a", "User=b"}
			case kmsg.DeleteTopics.Int16():
				if version < 6 {
					want = []string{"Topic=a", "Topic=b"}
				}
			case kmsg.DeleteGroups.Int16():
				want = []string{"Group=g", "Group=h"}
			case kmsg.AddPartitionsToTxn.Int16():
				if version >= 4 {
					want = nil // an error for all
				}
			}
			if req.Key() == kmsg.OffsetCommit.Int16() { // the request's own group is not in the answer
				want = withoutGroup(want)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s v%d: got %v, want %v", name, version, got, want)
			}
			for n := range body {
				if _, err := rewrite.Refusal(req.Key(), version, body[:n]); err != nil && !errors.Is(err, wire.ErrShort) && !errors.Is(err, wire.ErrMalformed) {
					t.Errorf("%s v%d, cut to %d bytes: %v", name, version, n, err)
				}
			}
		}
	}
}

func withoutGroup(all []string) (rest []string) {
	for _, s := range all {
		if s != "Group=g" {
			rest = append(rest, s)
		}
	}
	return rest
}

// decodeRefusal reads a refusal as a client does, and holds that it says why.
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

// Every other API has an error for all of it in the version that was asked, or no
// refusal: an answer without an error would be taken for a success.
func TestRefusalsSayWhy(t *testing.T) {
	perItem := map[int16]bool{}
	for _, req := range refusable() {
		perItem[req.Key()] = true
	}
	for key := range int16(kmsg.MaxKey + 1) {
		req := kmsg.RequestForKey(key)
		if req == nil || perItem[key] {
			continue
		}
		for version := range req.MaxVersion() + 1 {
			payload, err := rewrite.Refusal(key, version, nil)
			if err != nil {
				continue
			}
			resp := decodeRefusal(t, key, version, payload)
			if code := reflect.ValueOf(resp).Elem().FieldByName("ErrorCode").Int(); code == 0 {
				t.Errorf("%s v%d: the refusal has no error", kmsg.NameForKey(key), version)
			}
		}
	}
}

// What a client sends is read within its bytes, and as fast as it is short.
func FuzzRefusal(f *testing.F) {
	for _, req := range refusable() {
		for version := range req.MaxVersion() + 1 {
			req.SetVersion(version)
			f.Add(req.Key(), version, req.AppendTo(nil))
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
		t.Error("a version that nobody knows has an answer")
	}
}

// A request of many items in few bytes is not answered item by item: the answer has a
// sentence for each.
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
		t.Errorf("%d bytes of answer, %v", len(refused), err)
	}
	if allocated, most := after.TotalAlloc-before.TotalAlloc, uint64(16<<20); allocated > most {
		t.Errorf("it allocates %d bytes, for a request of %d", allocated, len(body))
	}
}
