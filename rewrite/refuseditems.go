package rewrite

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// refused reads the body of a request that is refused. Its methods read it to the
// last item that the response repeats.
type refused struct {
	wire.Reader
	version  int16
	flexible bool
	code     int16
	count    int // items so far
}

// maxRefusedItems bounds the items of a response that refuses each: a name of one byte in
// the request becomes a whole sentence there. No client sends so many at once.
const maxRefusedItems = 10_000

func (r *refused) tooMany() bool { return r.count > maxRefusedItems }

// items writes an error for each item, where the response has one for each; false: it has
// one for all.
func (r *refused) items(resp kmsg.Response) bool {
	switch resp := resp.(type) {
	case *kmsg.ProduceResponse:
		r.produce(resp)
	case *kmsg.CreateTopicsResponse:
		r.createTopics(resp)
	case *kmsg.DeleteTopicsResponse:
		r.deleteTopics(resp)
	case *kmsg.DeleteRecordsResponse:
		r.deleteRecords(resp)
	case *kmsg.CreatePartitionsResponse:
		r.createPartitions(resp)
	case *kmsg.AlterConfigsResponse:
		r.alterConfigs(resp)
	case *kmsg.IncrementalAlterConfigsResponse:
		r.incrementalAlterConfigs(resp)
	case *kmsg.CreateACLsResponse:
		r.each(func() { // only the number matters: the responses are by position
			resp.Results = append(resp.Results, erred(kmsg.NewCreateACLsResponseResult(), r.code))
			r.acl(1)
		})
	case *kmsg.DeleteACLsResponse:
		r.each(func() {
			resp.Results = append(resp.Results, erred(kmsg.NewDeleteACLsResponseResult(), r.code))
			r.acl(1)
		})
	case *kmsg.DeleteGroupsResponse:
		r.each(func() {
			group := erred(kmsg.NewDeleteGroupsResponseGroup(), r.code)
			group.Group = r.text()
			resp.Groups = append(resp.Groups, group)
		})
	case *kmsg.OffsetCommitResponse:
		r.offsetCommit(resp)
	case *kmsg.AddPartitionsToTxnResponse:
		if r.version >= 4 {
			return false
		}
		r.addPartitionsToTxn(resp)
	case *kmsg.AlterUserSCRAMCredentialsResponse:
		r.alterUserSCRAMCredentials(resp)
	default:
		return r.others(resp) || r.byPartition(resp) || r.byName(resp)
	}
	return true
}

// erred is an item of a response, with its error.
func erred[T any](item T, code int16) T {
	setError(&item, code)
	return item
}

// each calls read for every element of the next array; null has none.
func (r *refused) each(read func()) {
	for n := r.ArrayLen(r.flexible); n > 0 && r.Err() == nil; n-- {
		if r.count++; r.tooMany() {
			return
		}
		read()
	}
}

func (r *refused) text() string { return string(r.String(r.flexible)) }

// tags skips the end of a structure.
func (r *refused) tags() {
	if r.flexible {
		r.SkipTags()
	}
}

// topic reads a topic's name, or, from a version on, its id.
func (r *refused) topic(idFrom int16) (name string, id [16]byte) {
	if r.version >= idFrom {
		copy(id[:], r.Take(len(id)))
		return "", id
	}
	return r.text(), id
}

func (r *refused) produce(resp *kmsg.ProduceResponse) {
	if r.version >= 3 {
		r.text() // transactional id
	}
	r.Int16() // acks
	r.Int32() // timeout
	r.each(func() {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID = r.topic(13)
		r.each(func() {
			partition := erred(kmsg.NewProduceResponseTopicPartition(), r.code)
			partition.Partition, partition.BaseOffset = r.Int32(), -1
			r.Bytes(r.flexible) // records
			r.tags()
			topic.Partitions = append(topic.Partitions, partition)
		})
		r.tags()
		resp.Topics = append(resp.Topics, topic)
	})
}

func (r *refused) createTopics(resp *kmsg.CreateTopicsResponse) {
	r.each(func() {
		topic := erred(kmsg.NewCreateTopicsResponseTopic(), r.code)
		topic.Topic = r.text()
		r.Int32() // partitions
		r.Int16() // replicas
		r.each(func() {
			r.Int32() // partition
			r.each(func() { r.Int32() })
			r.tags()
		})
		r.each(func() { r.config(false) })
		r.tags()
		resp.Topics = append(resp.Topics, topic)
	})
}

// config reads one setting: its name, the operation, its value.
func (r *refused) config(hasOp bool) {
	r.text()
	if hasOp {
		r.Int8()
	}
	r.text()
	r.tags()
}

func (r *refused) deleteTopics(resp *kmsg.DeleteTopicsResponse) {
	r.each(func() {
		topic := erred(kmsg.NewDeleteTopicsResponseTopic(), r.code)
		if name := r.String(r.flexible); name != nil {
			topic.Topic = new(string(name))
		}
		if r.version >= 6 {
			copy(topic.TopicID[:], r.Take(len(topic.TopicID)))
			r.tags()
		}
		resp.Topics = append(resp.Topics, topic)
	})
}

func (r *refused) deleteRecords(resp *kmsg.DeleteRecordsResponse) {
	r.each(func() {
		topic := kmsg.NewDeleteRecordsResponseTopic()
		topic.Topic = r.text()
		r.each(func() {
			partition := erred(kmsg.NewDeleteRecordsResponseTopicPartition(), r.code)
			partition.Partition, partition.LowWatermark = r.Int32(), -1
			r.Int64() // offset
			r.tags()
			topic.Partitions = append(topic.Partitions, partition)
		})
		r.tags()
		resp.Topics = append(resp.Topics, topic)
	})
}

func (r *refused) createPartitions(resp *kmsg.CreatePartitionsResponse) {
	r.each(func() {
		topic := erred(kmsg.NewCreatePartitionsResponseTopic(), r.code)
		topic.Topic = r.text()
		r.Int32() // partitions
		r.each(func() {
			r.each(func() { r.Int32() })
			r.tags()
		})
		r.tags()
		resp.Topics = append(resp.Topics, topic)
	})
}

func (r *refused) alterConfigs(resp *kmsg.AlterConfigsResponse) {
	r.each(func() {
		resource := kmsg.NewAlterConfigsResponseResource()
		resource.ResourceType, resource.ResourceName = r.resource(&resource)
		r.each(func() { r.config(false) })
		r.tags()
		resp.Resources = append(resp.Resources, resource)
	})
}

func (r *refused) incrementalAlterConfigs(resp *kmsg.IncrementalAlterConfigsResponse) {
	r.each(func() {
		resource := kmsg.NewIncrementalAlterConfigsResponseResource()
		resource.ResourceType, resource.ResourceName = r.resource(&resource)
		r.each(func() { r.config(true) })
		r.tags()
		resp.Resources = append(resp.Resources, resource)
	})
}

// acl reads one ACL, or one filter. From a version on it has a pattern's type.
func (r *refused) acl(patternFrom int16) {
	r.Int8()
	r.text()
	if r.version >= patternFrom {
		r.Int8()
	}
	r.text() // principal
	r.text() // host
	r.Int8() // operation
	r.Int8() // permission
	r.tags()
}

func (r *refused) offsetCommit(resp *kmsg.OffsetCommitResponse) {
	r.text() // group
	if r.version >= 1 {
		r.Int32() // generation
		r.text()  // member
	}
	if r.version >= 7 {
		r.text() // instance
	}
	if r.version >= 2 && r.version <= 4 {
		r.Int64() // retention
	}
	r.each(func() {
		topic := kmsg.NewOffsetCommitResponseTopic()
		topic.Topic, topic.TopicID = r.topic(10)
		r.each(func() {
			partition := erred(kmsg.NewOffsetCommitResponseTopicPartition(), r.code)
			partition.Partition = r.Int32()
			r.Int64() // offset
			if r.version == 1 {
				r.Int64() // timestamp
			}
			if r.version >= 6 {
				r.Int32() // leader epoch
			}
			r.text() // metadata
			r.tags()
			topic.Partitions = append(topic.Partitions, partition)
		})
		r.tags()
		resp.Topics = append(resp.Topics, topic)
	})
}

// addPartitionsToTxn is for versions before 4, which has an error for all.
func (r *refused) addPartitionsToTxn(resp *kmsg.AddPartitionsToTxnResponse) {
	r.text()  // transactional id
	r.Int64() // producer id
	r.Int16() // producer epoch
	r.each(func() {
		topic := kmsg.NewAddPartitionsToTxnResponseTopic()
		topic.Topic = r.text()
		r.each(func() {
			partition := erred(kmsg.NewAddPartitionsToTxnResponseTopicPartition(), r.code)
			partition.Partition = r.Int32()
			topic.Partitions = append(topic.Partitions, partition)
		})
		r.tags()
		resp.Topics = append(resp.Topics, topic)
	})
}

func (r *refused) alterUserSCRAMCredentials(resp *kmsg.AlterUserSCRAMCredentialsResponse) {
	refuse := func() {
		result := erred(kmsg.NewAlterUserSCRAMCredentialsResponseResult(), r.code)
		result.User = r.text()
		r.Int8() // mechanism
		resp.Results = append(resp.Results, result)
	}
	r.each(func() { // deletions
		refuse()
		r.tags()
	})
	r.each(func() { // upsertions
		refuse()
		r.Int32()           // iterations
		r.Bytes(r.flexible) // salt
		r.Bytes(r.flexible) // salted password
		r.tags()
	})
}
