package proxy_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// asReplica are requests for one partition in the name of a replica.
func asReplica(replica int32, topics int) []kmsg.Request {
	fetch, offsets, epochs := kmsg.NewPtrFetchRequest(), kmsg.NewPtrListOffsetsRequest(), kmsg.NewPtrOffsetForLeaderEpochRequest()
	fetch.ReplicaID, fetch.ReplicaState.ID = replica, replica
	offsets.ReplicaID, epochs.ReplicaID = replica, replica
	for i := range topics {
		name := fmt.Sprint("topic-", i)
		fetch.Topics = append(fetch.Topics, kmsg.FetchRequestTopic{Topic: name, TopicID: [16]byte{byte(i), byte(i >> 8)}, Partitions: []kmsg.FetchRequestTopicPartition{{Partition: 3}}})
		offsets.Topics = append(offsets.Topics, kmsg.ListOffsetsRequestTopic{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Partition: 3}}})
		epochs.Topics = append(epochs.Topics, kmsg.OffsetForLeaderEpochRequestTopic{Topic: name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{Partition: 3}}})
	}
	return []kmsg.Request{fetch, offsets, epochs}
}

// partitionError is the error of the one partition in a response.
func partitionError(t *testing.T, resp kmsg.Response) int16 {
	t.Helper()
	switch resp := resp.(type) {
	case *kmsg.FetchResponse:
		return resp.Topics[0].Partitions[0].ErrorCode
	case *kmsg.ListOffsetsResponse:
		return resp.Topics[0].Partitions[0].ErrorCode
	case *kmsg.OffsetForLeaderEpochResponse:
		return resp.Topics[0].Partitions[0].ErrorCode
	}
	t.Fatalf("got %T", resp)
	return 0
}

func responseTo(req kmsg.Request) kmsg.Response {
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	return resp
}

// filtered are listeners where no client may act as a follower.
var filtered = map[string]config.APIs{
	"read-only": {Preset: config.ReadOnly},
	"deny":      {Deny: []string{"DescribeAcls"}},
}

// A client that fetches as a follower is refused at a listener that filters: the
// leader would take records for replicated. A consumer is served, in every version.
func TestFollowersAreRefused(t *testing.T) {
	t.Parallel()
	for name, apis := range filtered {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l lab
			c, s := l.openFiltered(t, apis, "")
			id := int32(0)
			for _, replica := range []int32{0, 7, -1, -2} {
				for _, req := range asReplica(replica, 1) {
					for version := range req.MaxVersion() + 1 {
						id++
						req.SetVersion(version)
						c.send(id, req)
						if replica >= 0 && (req.Key() != kmsg.OffsetForLeaderEpoch.Int16() || version >= 3) {
							resp := responseTo(req)
							c.receive(id, resp)
							if got := partitionError(t, resp); got != kerr.TopicAuthorizationFailed.Code {
								t.Errorf("%s v%d, replica %d: got error %d", kmsg.NameForKey(req.Key()), version, replica, got)
							}
							continue
						}
						if got := s.request(kmsg.Key(req.Key()), id); !bytes.Equal(got.frame, requestFrame(id, req)) {
							t.Errorf("%s v%d, replica %d: it changed on its way", kmsg.NameForKey(req.Key()), version, replica)
						}
						s.answer(id, responseTo(req))
						c.frame()
					}
				}
			}
			finish(t, &l, c, s)
		})
	}
}

// A long request passes as it comes. If its end names a replica, the broker does not
// get it.
func TestFollowersOfManyTopics(t *testing.T) {
	t.Parallel()
	for _, topics := range []int{400, 5000, 20_000} {
		for _, version := range []int16{4, 11, 12, 15, 18} {
			t.Run(fmt.Sprintf("%d topics, v%d", topics, version), func(t *testing.T) {
				t.Parallel()
				var l lab
				c, s := l.openFiltered(t, config.APIs{Preset: config.ReadOnly}, "")
				consumer := requestFrame(1, of(version, asReplica(-1, topics)[0]))
				go func() { _ = c.tryWrite(consumer) }()
				if got := s.request(kmsg.Fetch, 1); !bytes.Equal(got.frame, consumer) {
					t.Error("a consumer's request changed on its way")
				}
				s.answer(1, answerTo(version, kmsg.NewPtrFetchResponse()))
				c.frame()
				follower := requestFrame(2, of(version, asReplica(1, topics)[0]))
				go func() { _ = c.tryWrite(follower) }()
				if version < 15 && len(follower) <= 256<<10 { // it says so in front
					resp := answerTo(version, kmsg.NewPtrFetchResponse())
					c.receive(2, resp)
					if got := partitionError(t, resp); got != kerr.TopicAuthorizationFailed.Code || len(resp.Topics) != topics {
						t.Errorf("got error %d for %d topics", got, len(resp.Topics))
					}
					finish(t, &l, c, s)
					return
				}
				if rest, _ := s.ended(); len(rest) >= len(follower) {
					t.Errorf("the broker got all %d bytes of the request", len(rest))
				}
				s.close()
				_, _ = c.ended()
				l.ended(t, proxy.APIRefused)
			})
		}
	}
}

// Where nothing is filtered, nothing is looked into.
func TestFollowersPassWhereNothingIsFiltered(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.send(1, of(17, asReplica(1, 1)[0]))
	s.request(kmsg.Fetch, 1)
	s.answer(1, answerTo(17, kmsg.NewPtrFetchResponse()))
	c.receive(1, answerTo(17, kmsg.NewPtrFetchResponse()))
	finish(t, &l, c, s)
}

// On a cluster where kproxy logs in, a follower would have kproxy's own rights.
func TestFollowersHaveNotTheProxysRights(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.openLoggedIn(t)
	req := of(17, asReplica(1, 1)[0])
	c.send(1, req)
	resp := answerTo(17, kmsg.NewPtrFetchResponse())
	c.receive(1, resp)
	if got := partitionError(t, resp); got != kerr.TopicAuthorizationFailed.Code {
		t.Errorf("got error %d", got)
	}
	finish(t, &l, c, s)
}
