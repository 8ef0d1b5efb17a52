package rewrite

import (
	"math"
	"reflect"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// This file refuses requests that read: most responses have an error for each partition
// of each topic, or for each name. refuseditems.go refuses requests that change
// something.

// others responds to requests of which each has a shape of its own; false: it is none of
// them.
func (r *refused) others(resp kmsg.Response) bool {
	switch resp := resp.(type) {
	case *kmsg.InitProducerIDResponse:
		r.initProducerID(resp)
	case *kmsg.DescribeLogDirsResponse:
		if r.version >= 3 {
			return false
		}
		resp.Dirs = append(resp.Dirs, erred(kmsg.NewDescribeLogDirsResponseDir(), r.code))
	case *kmsg.MetadataResponse:
		r.metadata(resp)
	case *kmsg.OffsetFetchResponse:
		if r.version >= 2 && r.version <= 7 {
			return false
		}
		r.offsetFetch(resp)
	case *kmsg.DescribeConfigsResponse:
		r.describeConfigs(resp)
	case *kmsg.AlterClientQuotasResponse:
		r.alterClientQuotas(resp)
	default:
		return false
	}
	return true
}

// byPartition writes an error for each partition; false: the response has another shape.
func (r *refused) byPartition(resp kmsg.Response) bool {
	switch resp := resp.(type) {
	case *kmsg.FetchResponse:
		r.fetch(resp)
	case *kmsg.ListOffsetsResponse:
		r.listOffsets(resp)
	case *kmsg.OffsetForLeaderEpochResponse:
		if r.version >= 3 {
			r.Int32() // replica
		}
		r.partitions(&resp.Topics, noTopicID, func() {
			r.takeFrom(2, 4) // the client's epoch
			r.Int32()        // the epoch to look for
			r.tags()
		})
	case *kmsg.WriteTxnMarkersResponse:
		r.writeTxnMarkers(resp)
	case *kmsg.TxnOffsetCommitResponse:
		r.txnOffsetCommit(resp)
	case *kmsg.AlterReplicaLogDirsResponse:
		r.each(func() {
			r.text() // directory
			r.partitions(&resp.Topics, noTopicID, nil)
			r.tags()
		})
	case *kmsg.ElectLeadersResponse:
		if r.version >= 1 {
			return false
		}
		r.partitions(&resp.Topics, noTopicID, nil)
	case *kmsg.DescribeProducersResponse:
		r.partitions(&resp.Topics, noTopicID, nil)
	default:
		return r.shareState(resp)
	}
	return true
}

// shareState is byPartition for the requests in which share coordinators keep
// the state of share groups.
func (r *refused) shareState(resp kmsg.Response) bool {
	var topics any
	rest := func() {}
	switch resp := resp.(type) {
	case *kmsg.InitializeShareGroupStateResponse:
		topics, rest = &resp.Topics, func() { r.Take(4 + 8) } // epoch, first offset
	case *kmsg.ReadShareGroupStateResponse:
		topics, rest = &resp.Topics, func() { r.Int32() } // epoch
	case *kmsg.WriteShareGroupStateResponse:
		topics, rest = &resp.Topics, func() {
			r.Take(4 + 4 + 8) // epochs, first offset
			r.takeFrom(1, 4)  // how many are delivered
			r.each(func() {
				r.Take(8 + 8 + 1 + 2) // offsets, state, count
				r.tags()
			})
		}
	case *kmsg.DeleteShareGroupStateResponse:
		topics = &resp.Topics
	case *kmsg.ReadShareGroupStateSummaryResponse:
		topics, rest = &resp.Topics, func() { r.Int32() } // epoch
	default:
		return false
	}
	r.text() // group
	r.partitions(topics, 0, func() {
		rest()
		r.tags()
	})
	return true
}

// byName writes an error for each name; false: the response has another shape.
func (r *refused) byName(resp kmsg.Response) bool {
	switch resp := resp.(type) {
	case *kmsg.FindCoordinatorResponse:
		if r.version < 4 {
			return false
		}
		r.Int8() // the parameter
		r.names(&resp.Coordinators, "Key", nil)
	case *kmsg.DescribeGroupsResponse:
		r.names(&resp.Groups, "Group", nil)
	case *kmsg.ConsumerGroupDescribeResponse:
		r.names(&resp.Groups, "Group", nil)
	case *kmsg.ShareGroupDescribeResponse:
		r.names(&resp.Groups, "GroupID", nil)
	case *kmsg.StreamsGroupDescribeResponse:
		r.names(&resp.Groups, "Group", nil)
	case *kmsg.DescribeShareGroupOffsetsResponse:
		r.names(&resp.Groups, "GroupID", func() {
			r.skipTopics(noTopicID)
			r.tags()
		})
	case *kmsg.DescribeTransactionsResponse:
		r.names(&resp.TransactionStates, "TransactionalID", nil)
	case *kmsg.DescribeTopicPartitionsResponse:
		r.each(func() {
			topic := erred(kmsg.NewDescribeTopicPartitionsResponseTopic(), r.code)
			topic.Topic = new(r.text())
			r.tags()
			resp.Topics = append(resp.Topics, topic)
		})
	default:
		return false
	}
	return true
}

// noTopicID is for topics that have names in every version.
const noTopicID = math.MaxInt16

// partitions reads topics with their partitions, and appends to *topics, a slice of a
// response's topics, an error for each partition. rest reads the fields of a partition
// after its number; nil: there are none, not even tags.
func (r *refused) partitions(topics any, idFrom int16, rest func()) {
	r.each(func() {
		topic := appended(topics)
		name, id := r.topic(idFrom)
		setField(topic, "Topic", name)
		setField(topic, "TopicID", id)
		all := topic.FieldByName("Partitions").Addr().Interface()
		r.each(func() {
			partition := appended(all)
			setField(partition, "Partition", r.Int32())
			setError(partition.Addr().Interface(), r.code)
			if rest != nil {
				rest()
			}
		})
		r.tags()
	})
}

// names reads names, and appends to *list an item for each that has the name in
// field, and an error. rest is as in partitions.
func (r *refused) names(list any, field string, rest func()) {
	r.each(func() {
		item := appended(list)
		setField(item, field, r.text())
		setError(item.Addr().Interface(), r.code)
		if rest != nil {
			rest()
		}
	})
}

// appended appends an element with kmsg's defaults to *list, and returns it.
func appended(list any) reflect.Value {
	slice := reflect.ValueOf(list).Elem()
	element := reflect.New(slice.Type().Elem())
	if d, ok := reflect.TypeAssert[interface{ Default() }](element); ok {
		d.Default()
	}
	slice.Set(reflect.Append(slice, element.Elem()))
	return slice.Index(slice.Len() - 1)
}

// setField sets a field of an item, if the item has it.
func setField(item reflect.Value, name string, value any) {
	if field := item.FieldByName(name); field.IsValid() {
		field.Set(reflect.ValueOf(value))
	}
}

// takeFrom takes n bytes that exist from a version on.
func (r *refused) takeFrom(version int16, n int) {
	if r.version >= version {
		r.Take(n)
	}
}

// skipTopics reads topics with their partitions' numbers.
func (r *refused) skipTopics(idFrom int16) {
	r.each(func() {
		r.topic(idFrom)
		r.each(func() { r.Int32() })
		r.tags()
	})
}

// fetch writes an error for each partition, as brokers do: clients do not report an error
// for the whole to the application. Without a session every request of a client names all
// of its partitions.
func (r *refused) fetch(resp *kmsg.FetchResponse) {
	if r.version <= 14 {
		r.Int32() // replica
	}
	r.Take(4 + 4)      // the longest wait, the fewest bytes
	r.takeFrom(3, 4)   // the most bytes
	r.takeFrom(4, 1)   // isolation level
	r.takeFrom(7, 4+4) // session, its epoch
	r.partitions(&resp.Topics, 13, func() {
		r.takeFrom(9, 4)  // the client's epoch
		r.Int64()         // offset
		r.takeFrom(12, 4) // the epoch of the last record
		r.takeFrom(5, 8)  // a follower's first offset
		r.Int32()         // the most bytes
		r.tags()
	})
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			p := &resp.Topics[i].Partitions[j]
			p.HighWatermark, p.RecordBatches = -1, []byte{} // librdkafka takes no null for records
		}
	}
}

func (r *refused) listOffsets(resp *kmsg.ListOffsetsResponse) {
	r.Int32()        // replica
	r.takeFrom(2, 1) // isolation level
	r.partitions(&resp.Topics, noTopicID, func() {
		r.takeFrom(4, 4) // the client's epoch
		r.Int64()        // timestamp
		if r.version == 0 {
			r.Int32() // the most offsets
		}
		r.tags()
	})
}

func (r *refused) writeTxnMarkers(resp *kmsg.WriteTxnMarkersResponse) {
	r.each(func() {
		marker := kmsg.NewWriteTxnMarkersResponseMarker()
		marker.ProducerID = r.Int64()
		r.Take(2 + 1) // epoch, whether it is committed
		r.partitions(&marker.Topics, noTopicID, nil)
		r.Int32()        // the coordinator's epoch
		r.takeFrom(2, 1) // transaction.version
		r.tags()
		resp.Markers = append(resp.Markers, marker)
	})
}

func (r *refused) txnOffsetCommit(resp *kmsg.TxnOffsetCommitResponse) {
	r.text()      // transactional id
	r.text()      // group
	r.Take(8 + 2) // producer id, its epoch
	if r.version >= 3 {
		r.Int32() // generation
		r.text()  // member
		r.text()  // instance
	}
	r.partitions(&resp.Topics, 6, func() {
		r.Int64()        // offset
		r.takeFrom(2, 4) // leader epoch
		r.text()         // metadata
		r.tags()
	})
}

// initProducerID has the error that a broker has for a transactional producer, or
// for an idempotent one.
func (r *refused) initProducerID(resp *kmsg.InitProducerIDResponse) {
	code := r.code
	if r.nullable() != nil {
		code = kerr.TransactionalIDAuthorizationFailed.Code
	}
	setError(resp, code)
}

// metadata has an error for each topic, and from v13 on one for the whole too.
func (r *refused) metadata(resp *kmsg.MetadataResponse) {
	setError(resp, r.code)
	r.each(func() {
		topic := erred(kmsg.NewMetadataResponseTopic(), r.code)
		r.takeID(10, &topic.TopicID)
		topic.Topic = r.nullable()
		if topic.Topic == nil && r.version < 12 {
			topic.Topic = new("") // null is for topics that were asked for by id, from v12 on
		}
		r.tags()
		resp.Topics = append(resp.Topics, topic)
	})
}

// takeID takes a topic's id, which exists from a version on.
func (r *refused) takeID(version int16, id *[16]byte) {
	if r.version >= version {
		copy(id[:], r.Take(len(id)))
	}
}

// nullable reads a string that may be null.
func (r *refused) nullable() *string {
	if s := r.String(r.flexible); s != nil {
		return new(string(s))
	}
	return nil
}

// offsetFetch is for versions before 2 and from 8 on; those between have an error
// for all.
func (r *refused) offsetFetch(resp *kmsg.OffsetFetchResponse) {
	if r.version < 2 {
		r.text() // group
		r.partitions(&resp.Topics, noTopicID, nil)
		return
	}
	r.names(&resp.Groups, "Group", func() {
		if r.version >= 9 {
			r.text()  // member
			r.Int32() // its epoch
		}
		r.skipTopics(10)
		r.tags()
	})
}

func (r *refused) describeConfigs(resp *kmsg.DescribeConfigsResponse) {
	r.each(func() {
		resource := kmsg.NewDescribeConfigsResponseResource()
		resource.ResourceType, resource.ResourceName = r.resource(&resource)
		r.each(func() { r.text() })
		r.tags()
		resp.Resources = append(resp.Resources, resource)
	})
}

// resource reads the resource whose settings are requested, and sets a broker's error for
// its type.
func (r *refused) resource(item any) (kind kmsg.ConfigResourceType, name string) {
	kind = kmsg.ConfigResourceType(r.Int8())
	code := r.code
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		code = kerr.TopicAuthorizationFailed.Code
	case kmsg.ConfigResourceTypeGroupConfig:
		code = kerr.GroupAuthorizationFailed.Code
	default:
	}
	setError(item, code)
	return kind, r.text()
}

func (r *refused) alterClientQuotas(resp *kmsg.AlterClientQuotasResponse) {
	r.each(func() {
		entry := erred(kmsg.NewAlterClientQuotasResponseEntry(), r.code)
		r.each(func() {
			entity := kmsg.NewAlterClientQuotasResponseEntryEntity()
			entity.Type, entity.Name = r.text(), r.nullable()
			r.tags()
			entry.Entity = append(entry.Entity, entity)
		})
		r.each(func() {
			r.text()      // key
			r.Take(8 + 1) // value, whether it is removed
			r.tags()
		})
		r.tags()
		resp.Entries = append(resp.Entries, entry)
	})
}
