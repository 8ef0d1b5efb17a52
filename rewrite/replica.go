package rewrite

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// ReplicaPlace is the place of a request's replica id.
type ReplicaPlace uint8

// The places.
const (
	NoReplica ReplicaPlace = iota
	AtFront                // an INT32 is first in the body
	AtTail                 // a tag at the end of the body, found by Walker.StartRequest
)

// fetchReplicaState is the version of Fetch that moved the replica into a tag
// (KIP-903).
const fetchReplicaState = 15

// ReplicaOf returns the place where requests of this key and version name a replica.
// Clients send a negative number there, or none. A request that names a replica fetches
// as a follower: the leader then counts records as replicated, and moves its high
// watermark.
func ReplicaOf(key, version int16) ReplicaPlace {
	switch kmsg.Key(key) {
	case kmsg.Fetch:
		if version >= fetchReplicaState {
			return AtTail
		}
		return AtFront
	case kmsg.ListOffsets:
		return AtFront
	case kmsg.OffsetForLeaderEpoch:
		if version >= 3 {
			return AtFront
		}
		return NoReplica
	default:
		return NoReplica
	}
}

// FetchesAsReplica reports whether the tags at the end of a Fetch request name a
// replica.
func FetchesAsReplica(tags []byte) (bool, error) {
	const replicaState = 1
	r := wire.NewReader(tags)
	names := false
	for n := r.TagCount(); n > 0 && r.Err() == nil; n-- {
		number := r.Uvarint()
		value := wire.NewReader(r.Take(int(r.Uvarint())))
		if number == replicaState {
			names = value.Int32() >= 0 || names
		}
	}
	return names, r.Err()
}

// fetchRequestLayout is the body of Fetch v15-18 as far as its tags.
var fetchRequestLayout = join(
	fixed(4+4+4+1+4+4), // longest wait, fewest and most bytes, isolation level, session id and epoch
	array(
		uuid,
		array(
			fixed(4+4+8+4+8+4), // partition, leader epoch, offset, last fetched epoch, log start offset, most bytes
			compactTags,
		),
		compactTags,
	),
	array( // topics that the session forgets
		uuid,
		array(fixed(4)),
		compactTags,
	),
	compactString, // rack
	layout{{atTail, 0}},
)
