// Package history records what the clients of a Kafka topic did and saw, and checks that
// nothing was lost.
//
//	load ──▶ Recorder ──▶ History ──▶ Check ──▶ Report: Findings and Counts
//	          bounded      │    ▲      pure
//	                       ▼    │
//	                      JSON lines
//
// A record has a number that no other record of the history has. The load records, for
// each client, when it invokes an operation and how that ends: OK with a partition and an
// offset, Fail for certain, or Unknown. It records each poll with the offsets, the numbers
// and the checksums of what was read, and each assignment. At the end readers read every
// partition from its beginning to its end, once with and once without the records of
// aborted transactions. Package workload is such a load.
//
// Check needs no broker and no clock. Its definitions are those of the Kafka workload of
// Jepsen, written anew.
//
// # Findings
//
//	incomplete    The history lacks events, a final read, or a producer's guarantee.
//	              It proves nothing, whatever else was found.
//	lost          A record was acknowledged, and in a committed transaction if in any.
//	              No reader has read it, and one has read a later offset.
//	unseen        The same, but no reader has read a later offset.
//	duplicate     One number is at two offsets, and its producer is idempotent or
//	              transactional. With acks=all alone a retry may do so: it is counted.
//	reordered     Of an idempotent or transactional producer's records in a partition,
//	              one that was sent earlier is at a higher offset. Others are counted.
//	torn          A record's bytes are not those that were sent; or, at the end, readers
//	              of committed records have seen a part of a transaction.
//	aborted       A reader of committed records has read one of an aborted transaction,
//	              or any reader has read a record that had failed for certain.
//	phantom       A record is in a partition that it was not sent to: a response that
//	              belongs to another request looks like this.
//	inconsistent  Two readers, a reader and an acknowledgement, or two acknowledgements
//	              name different records for one offset.
//	back          A reader got an offset below its position, without a rebalance or seek.
//	skipped       A reader has passed a record that was in the log and visible to it.
//	stale         A group's committed offset was read, and no order of the group's
//	              commits explains the value; or a member began before the commit.
//
// A record of unknown outcome may be in the log or not. Offsets need not be contiguous:
// control records take some. So skipped asks what other readers have read in the gap. A
// new member of a group begins at the committed offset, so it may read again what others
// have read, and may skip what others have committed.
//
// # What it cannot see
//
//   - A fault that hits every reader, of a record that was not acknowledged.
//   - A record that is lost before its acknowledgement, if the client says that it failed.
//   - How long anything took: a record that is late is not lost.
//   - Records that all readers get in another order than the log's but at the log's
//     offsets are found (back). A reader that invents offsets consistently is not.
//   - Keys, headers and timestamps: only values are compared. They have a checksum.
//   - Whose fault it was. A client that sends a commit again, because its connection ended,
//     may have the first one applied late, if a broker was paused: that is stale, too.
//   - Compaction and retention: the topic must keep all of its records.
//   - Consume-transform-produce: offsets that are committed in a transaction.
//   - More than one topic. A history has one.
//
// # Where the search is
//
// A group's committed offset is a register, and porcupine checks that it is linearizable.
// Nothing else is left to porcupine. An acknowledgement and a poll name the offsets of
// their records, so the order of appends is known, and comparing is enough. A model of the
// log as one register would find that a history is wrong, but not which record is lost.
package history
