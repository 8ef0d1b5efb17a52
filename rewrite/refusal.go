package rewrite

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// Refusal is the payload of the response of a broker that does not authorize the request:
// with an error for the whole, or for every requested item. body is the request behind
// its header. An error says that there is no such response, or that the request
// contradicts itself.
//
// Requests are read by hand and not by kmsg, which trusts counts: for a count of four
// billion tags it tries four billion times.
func Refusal(key, version int16, body []byte) ([]byte, error) {
	return refusal(key, version, body, refusedWith(key).Code)
}

// IllegalSASLState is the payload of the response to SaslHandshake or
// SaslAuthenticate on a connection that wants no login.
func IllegalSASLState(key, version int16) ([]byte, error) {
	return refusal(key, version, nil, kerr.IllegalSaslState.Code)
}

// UnsupportedVersion is the payload of a response with that error.
func UnsupportedVersion(key, version int16) ([]byte, error) {
	return refusal(key, version, nil, kerr.UnsupportedVersion.Code)
}

func refusal(key, version int16, body []byte, code int16) ([]byte, error) {
	resp := kmsg.ResponseForKey(key)
	if resp == nil || version < 0 || version > resp.MaxVersion() {
		return nil, fmt.Errorf("%s v%d: %w", kmsg.NameForKey(key), version, errNoRefusal)
	}
	resp.SetVersion(version)
	req := refused{Reader: wire.NewReader(body), version: version, flexible: FlexibleRequest(key, version), code: code}
	if req.items(resp) {
		if err := req.Err(); err != nil {
			return nil, err
		}
		if req.tooMany() {
			return nil, fmt.Errorf("%s v%d: more than %d items: %w", kmsg.NameForKey(key), version, maxRefusedItems, errNoRefusal)
		}
	} else if !setError(resp, code) || !saysError(resp) {
		return nil, fmt.Errorf("%s v%d: %w", kmsg.NameForKey(key), version, errNoRefusal)
	}
	var payload []byte
	if resp.IsFlexible() && key != kmsg.ApiVersions.Int16() {
		payload = append(payload, 0) // the header's tags
	}
	return resp.AppendTo(payload), nil
}

// saysError reports whether a response keeps its error when it is encoded: not every
// version has a field for one.
func saysError(resp kmsg.Response) bool {
	written := kmsg.ResponseForKey(resp.Key())
	written.SetVersion(resp.GetVersion())
	if written.ReadFrom(resp.AppendTo(nil)) != nil {
		return false
	}
	return reflect.ValueOf(written).Elem().FieldByName("ErrorCode").Int() != 0
}

var errNoRefusal = errors.New("it has no response that refuses it")

// newestRefusable returns the newest version of an API in which Refusal has a
// response; -1: none.
func newestRefusable(key int16) int16 {
	if !Known(key) {
		return -1
	}
	newest := refusableUpTo[key]
	if understood, isParsed := MaxVersion(key); isParsed {
		newest = min(newest, understood)
	}
	return newest
}

// refusableUpTo has the newest version of each API's response that kmsg writes.
var refusableUpTo = func() (newest [kmsg.MaxKey + 1]int16) {
	for key := range newest {
		newest[key] = -1
		if resp := kmsg.ResponseForKey(int16(key)); resp != nil {
			newest[key] = resp.MaxVersion()
		}
	}
	return newest
}()

// refusedWith is the response of a broker that does not authorize a request.
func refusedWith(key int16) *kerr.Error {
	switch kmsg.Key(key) {
	case kmsg.Produce, kmsg.Fetch, kmsg.ListOffsets, kmsg.Metadata, kmsg.CreateTopics, kmsg.DeleteTopics, kmsg.DeleteRecords, kmsg.CreatePartitions,
		kmsg.OffsetForLeaderEpoch, kmsg.DescribeProducers, kmsg.DescribeTopicPartitions, kmsg.ShareFetch, kmsg.ShareAcknowledge:
		return kerr.TopicAuthorizationFailed
	case kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.FindCoordinator, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.LeaveGroup,
		kmsg.DeleteGroups, kmsg.OffsetDelete, kmsg.ConsumerGroupHeartbeat, kmsg.ShareGroupHeartbeat, kmsg.StreamsGroupHeartbeat,
		kmsg.AlterShareGroupOffsets, kmsg.DeleteShareGroupOffsets, kmsg.DescribeShareGroupOffsets, kmsg.DescribeGroups,
		kmsg.ConsumerGroupDescribe, kmsg.ShareGroupDescribe, kmsg.StreamsGroupDescribe, kmsg.StreamsGroupTopologyDescriptionUpdate:
		return kerr.GroupAuthorizationFailed
	case kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.EndTxn, kmsg.TxnOffsetCommit, kmsg.DescribeTransactions:
		return kerr.TransactionalIDAuthorizationFailed
	default:
		return kerr.ClusterAuthorizationFailed
	}
}

// setError sets the error of a response, or of one item in it; false: it has none.
func setError(pointer any, code int16) bool {
	v := reflect.ValueOf(pointer).Elem()
	field := v.FieldByName("ErrorCode")
	if !field.IsValid() || field.Kind() != reflect.Int16 {
		return false
	}
	field.SetInt(int64(code))
	if message := v.FieldByName("ErrorMessage"); message.IsValid() && message.Kind() == reflect.Pointer {
		text := kerr.TypedErrorForCode(code).Description
		message.Set(reflect.ValueOf(&text))
	}
	return true
}
