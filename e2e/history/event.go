package history

import "time"

// Type is the type of an event.
type Type string

// The types.
const (
	// Join declares a client, before its first other event. A producer has a
	// Guarantee, a reader may have a Group and may read Committed records only.
	Join Type = "join"

	// Send invokes a produce: Number, Partition (AnyPartition: the client chooses), Sum
	// and, in a transaction, Tx.
	Send Type = "send"
	// Sent completes it: Number, Outcome and, where that is OK, Partition and Offset.
	Sent Type = "sent"

	// Begin begins the client's transaction Tx. End invokes its end, with Commit or
	// without, and Ended completes that with an Outcome.
	Begin Type = "begin"
	End   Type = "end"   // see Begin
	Ended Type = "ended" // see Begin

	// Assign gives Partitions to a reader, Revoke takes them. Seek gives it one
	// Partition at Offset.
	Assign Type = "assign"
	Revoke Type = "revoke"
	Seek   Type = "seek"
	// Poll has the records of one Partition that one poll returned: their Offsets, their
	// Numbers (NoNumber: unreadable) and the Sums of their bytes.
	Poll Type = "poll"

	// Commit invokes a commit of Offset for the Group and the Partition, as Op of the
	// client. Committed completes it with an Outcome.
	Commit    Type = "commit"
	Committed Type = "committed"
	// Fetch invokes a read of the Group's committed offset of the Partition, as Op of
	// the client. Fetched completes it: Outcome and Offset (NoOffset: none is committed).
	Fetch   Type = "fetch"
	Fetched Type = "fetched"

	// Final says that the reader read the Partition from its beginning until its end,
	// which is Offset, after the last produce.
	Final Type = "final"
)

// NoOffset is the offset of an acknowledgement that names none, and of a group
// without a committed offset.
const NoOffset = -1

// AnyPartition is the partition of a record whose client chooses it.
const AnyPartition = -1

// NoNumber is the number of a record that cannot be read.
const NoNumber = -1

// Guarantee is a producer's configuration.
type Guarantee string

// The guarantees.
const (
	// Acks is acks=all alone: a retry may write a record twice, and out of order.
	Acks          Guarantee = "acks"
	Idempotent    Guarantee = "idempotent"    // once, and in order in each partition
	Transactional Guarantee = "transactional" // the same, and all of a transaction or nothing
)

// Outcome is how an operation ended, as its client knows.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"      // it has happened
	Fail    Outcome = "fail"    // it has certainly not happened, and will not
	Unknown Outcome = "unknown" // it may have happened, and may still happen
)

// Event is one event of one client: a line of a history's file. Its type says which
// fields it has; the others are zero.
type Event struct {
	At     time.Duration `json:"at"` // since the history began, by a monotonic clock
	Client string        `json:"client"`
	Type   Type          `json:"type"`
	Op     int64         `json:"op,omitempty"` // joins a completion to its invocation

	Guarantee Guarantee `json:"guarantee,omitempty"`
	Group     string    `json:"group,omitempty"`
	Committed bool      `json:"committed,omitempty"` // isolation level read_committed

	Number    int64   `json:"number,omitempty"`
	Partition int32   `json:"partition,omitempty"`
	Offset    int64   `json:"offset,omitempty"`
	Sum       uint32  `json:"sum,omitempty"` // CRC-32C of the whole value
	Tx        int64   `json:"tx,omitempty"`  // 0: no transaction
	Commit    bool    `json:"commit,omitempty"`
	Outcome   Outcome `json:"outcome,omitempty"`
	Error     string  `json:"error,omitempty"`

	Partitions []int32  `json:"partitions,omitempty"`
	Offsets    []int64  `json:"offsets,omitempty"`
	Numbers    []int64  `json:"numbers,omitempty"`
	Sums       []uint32 `json:"sums,omitempty"`
}

// cost is an event's share of a recorder's limit.
func (e *Event) cost() int { return 1 + len(e.Offsets)/4 }

// History has the events of all clients of one topic, by time.
type History struct {
	Events []Event
	// Dropped counts the events that the recorder had no room for. A history that
	// lacks events proves nothing.
	Dropped int
}
