// Package history records the operations of a Kafka topic's clients, and checks that no
// record was lost.
//
//	load ──▶ Recorder ──▶ History ──▶ Check ──▶ Report: Findings and Counts
//	          bounded      │    ▲      pure
//	                       ▼    │
//	                      JSON lines
//
// A record has a number that no other record of the history has. The load records, for
// each client, when it invokes an operation and how that ends: OK with a partition and an
// offset, Fail for certain, or Unknown. It records each poll with the offsets, the numbers
// and the checksums of the records, and each assignment. At the end readers read every
// partition from its beginning to its end, once with and once without the records of
// aborted transactions. Package workload is such a load.
//
// Check needs no broker. Its definitions are those of the Kafka workload of Jepsen, written
// anew.
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
// control records take some. So a gap is skipped only if other readers have read a record
// in it. A new member of a group begins at the committed offset. It may read records again
// from there on, and does not read those before.
//
// # Limits
//
// The checker does not see:
//
//   - A record without an acknowledgement that no reader gets. The protocol allows that.
//   - Time: a record that is late is not lost, and a pause is no finding.
//   - Offsets that are wrong in the same way in every response, for all clients.
//   - Keys, headers and timestamps. Only values have a checksum.
//   - The cause. The brokers and the clients may lose records, too: a control without
//     kproxy tells. For example, a client that sends a commit again after its connection
//     has ended may have the first one applied late, if a broker was paused: stale.
//   - Compaction and retention. The topic must keep all of its records.
//   - Offsets that are committed in a transaction (consume-transform-produce), and those
//     that a client commits by itself, unless the load records them.
//   - A second topic. A history has one.
//
// # Porcupine
//
// A group's committed offset is a register, and porcupine checks that it is linearizable.
// Nothing else is left to porcupine. An acknowledgement and a poll name the offsets of
// their records, so the order of appends is known, and comparing is enough. A model of the
// log as one register would find that a history is wrong, but not which record is lost.
package history
