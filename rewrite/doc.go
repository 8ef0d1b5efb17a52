// Package rewrite changes Kafka responses on their way to a client: the addresses of
// brokers, and the list of APIs. Bytes in, bytes out: it has no socket, clock, goroutine
// or logger. Bytes that it cannot parse are an error, on which the caller closes the
// connection.
//
// The two types to know are [Rewriter], which changes responses, and [Walker],
// which finds the one place in a large response where an address can be, while
// the rest of it goes by:
//
//	broker ─response─▶ TreatmentOf(key, version)
//	                     Opaque ─────────────────────────────────────▶ client
//	                     Head    Rewriter.Head: the brokers in front;
//	                             the topics behind them go as they are ▶
//	                     Whole   Rewriter.Whole: decoded, encoded ────▶
//	                     Walk    Walker: pass n, need n, tail n;
//	                             Rewriter.Tail: the addresses at the end ▶
//	                     Settings  Configs: pass n, send instead of n ────▶
//	                     Refuse  a layout that this build does not know: close
//
// The caller's [Translate] replaces the addresses: it gets the brokers that the response
// names, and sets the addresses that the client gets instead.
//
// # Which responses carry a broker's address
//
// Seven have addresses that clients dial; key and name, place, and treatment:
//
//	 0 Produce           tag NodeEndpoints, last in the frame (KIP-951)   Walk, flexible versions
//	 1 Fetch             tag NodeEndpoints, last in the frame (KIP-951)   Walk, flexible versions
//	 3 Metadata          Brokers, first in the body                       Head
//	10 FindCoordinator   the coordinator, or (v4+) Coordinators           Whole
//	60 DescribeCluster   Brokers                                          Whole
//	78 ShareFetch        NodeEndpoints, before the last tags              Walk
//	79 ShareAcknowledge  NodeEndpoints, before the last tags              Walk
//
// Apache Kafka writes the tag from Produce v10 and Fetch v16 on. Other brokers
// write it in every flexible version, and librdkafka follows it there, so every
// flexible version is walked.
//
// Two more have addresses that clients do not dial. These are removed:
//
//	32 DescribeConfigs   values of listeners, advertised.listeners, controller.quorum.voters,
//	                     controller.quorum.bootstrap.servers, zookeeper.connect, of their predecessors, of names with such an end, and of their synonyms: null and
//	                     sensitive, or overwritten where the length is fixed  Settings
//	55 DescribeQuorum    Listeners of controllers, from v2 on: none       Whole
//
// One more response changes, although it holds no address:
//
//	18 ApiVersions       APIs that kproxy must understand are lowered to
//	                     the newest version that it does                  Whole
//
// # Which fields look like an address and stay
//
//	15 DescribeGroups          ClientHost: where a group's member connects from
//	29 DescribeAcls            Host: the pattern of an access rule
//	31 DeleteAcls              Host: the pattern of an access rule
//	52 Vote                    NodeEndpoints of KRaft controllers; never on a broker's listener
//	53 BeginQuorumEpoch        the same
//	54 EndQuorumEpoch          the same
//	59 FetchSnapshot           NodeEndpoints of KRaft controllers
//	69 ConsumerGroupDescribe   ClientHost of members
//	77 ShareGroupDescribe      ClientHost of members
//	82 UpdateRaftVoter         CurrentLeader, a KRaft controller
//	88 StreamsGroupHeartbeat   UserEndpoint: application.server of Streams applications (KIP-1071)
//	89 StreamsGroupDescribe    ClientHost and UserEndpoint of members
//
// Texts are not examined: error messages, racks, the documentation of settings,
// tags that this build does not know, data that clients keep at brokers for each other.
//
// A test walks kmsg's types and fails when a field that looks like an address
// is in neither table.
//
// # Stability
//
// Before version 1.0 a minor version may change the exported names of this package; the
// CHANGELOG lists each change.
package rewrite
