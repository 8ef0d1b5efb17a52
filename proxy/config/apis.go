package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/rewrite"
)

// APIs are the APIs that a listener's clients may use. The zero value allows all of them,
// except for those that a cluster with SASL refuses.
type APIs struct {
	Preset APIPreset
	Allow  []string // names of APIs that are allowed in spite of Preset and SASL
	Deny   []string // names of APIs that are refused
}

// Refusals names the requests that are refused, in a few words; "": none.
func (a *APIs) Refusals() string {
	var words []string
	if a.Preset != "" {
		words = append(words, string(a.Preset))
		if len(a.Allow) > 0 {
			words = append(words, "but allows "+few(a.Allow))
		}
	}
	if len(a.Deny) > 0 {
		words = append(words, "refuses "+few(a.Deny))
	}
	return strings.Join(words, ", ")
}

// few is a list with the first names alone.
func few(names []string) string {
	const most = 3
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// APIPreset is a set of APIs with a name.
type APIPreset string

// ReadOnly refuses the APIs that change a cluster or its data. Consumers can use all of
// theirs, including the commit of their offsets.
const ReadOnly APIPreset = "read-only"

// credentialAPIs are the APIs by which a client could create or read credentials of the
// proxy's principal: delegation tokens and SCRAM credentials.
var credentialAPIs = []kmsg.Key{
	kmsg.CreateDelegationToken, kmsg.RenewDelegationToken, kmsg.ExpireDelegationToken, kmsg.DescribeDelegationToken,
	kmsg.DescribeUserSCRAMCredentials, kmsg.AlterUserSCRAMCredentials,
}

// forReaders has for every API that this build knows whether ReadOnly allows it. A test
// checks that none is missing, so that each new API gets a decision.
var forReaders = map[kmsg.Key]bool{
	// Every client needs these.
	kmsg.ApiVersions: true, kmsg.Metadata: true, kmsg.DescribeCluster: true, kmsg.DescribeTopicPartitions: true,
	kmsg.SASLHandshake: true, kmsg.SASLAuthenticate: true, kmsg.FindCoordinator: true,
	kmsg.GetTelemetrySubscriptions: true, kmsg.PushTelemetry: true, // about the client itself

	// Consumers, of all three kinds. They commit offsets of their own.
	kmsg.Fetch: true, kmsg.ListOffsets: true, kmsg.OffsetForLeaderEpoch: true,
	kmsg.JoinGroup: true, kmsg.SyncGroup: true, kmsg.Heartbeat: true, kmsg.LeaveGroup: true,
	kmsg.OffsetCommit: true, kmsg.OffsetFetch: true, kmsg.ConsumerGroupHeartbeat: true,
	kmsg.ShareGroupHeartbeat: true, kmsg.ShareFetch: true, kmsg.ShareAcknowledge: true,

	// Descriptions and lists.
	kmsg.DescribeGroups: true, kmsg.ListGroups: true, kmsg.ConsumerGroupDescribe: true, kmsg.ShareGroupDescribe: true,
	kmsg.StreamsGroupDescribe: true, kmsg.DescribeShareGroupOffsets: true,
	kmsg.DescribeACLs: true, kmsg.DescribeConfigs: true, kmsg.ListConfigResources: true, kmsg.DescribeLogDirs: true,
	kmsg.ListPartitionReassignments: true, kmsg.DescribeClientQuotas: true, kmsg.DescribeQuorum: true,
	kmsg.DescribeProducers: true, kmsg.DescribeTransactions: true, kmsg.ListTransactions: true,
	kmsg.DescribeUserSCRAMCredentials: true, // names and iterations

	// Records, and the requests that producers send before them.
	kmsg.Produce: false, kmsg.InitProducerID: false, kmsg.AddPartitionsToTxn: false, kmsg.AddOffsetsToTxn: false,
	kmsg.EndTxn: false, kmsg.TxnOffsetCommit: false, kmsg.WriteTxnMarkers: false, kmsg.DeleteRecords: false,

	// Kafka Streams creates topics of its own.
	kmsg.StreamsGroupHeartbeat: false, kmsg.StreamsGroupTopologyDescriptionUpdate: false,

	// Administration.
	kmsg.CreateTopics: false, kmsg.DeleteTopics: false, kmsg.CreatePartitions: false,
	kmsg.AlterConfigs: false, kmsg.IncrementalAlterConfigs: false, kmsg.AlterReplicaLogDirs: false,
	kmsg.CreateACLs: false, kmsg.DeleteACLs: false, kmsg.AlterClientQuotas: false, kmsg.AlterUserSCRAMCredentials: false,
	kmsg.DeleteGroups: false, kmsg.OffsetDelete: false, kmsg.AlterShareGroupOffsets: false, kmsg.DeleteShareGroupOffsets: false,
	kmsg.ElectLeaders: false, kmsg.AlterPartitionAssignments: false, kmsg.UpdateFeatures: false, kmsg.UnregisterBroker: false,
	kmsg.AddRaftVoter: false, kmsg.RemoveRaftVoter: false, kmsg.UnregisterController: false,

	// Delegation tokens are credentials, and a description has them.
	kmsg.CreateDelegationToken: false, kmsg.RenewDelegationToken: false, kmsg.ExpireDelegationToken: false, kmsg.DescribeDelegationToken: false,

	// Between brokers and controllers.
	kmsg.LeaderAndISR: false, kmsg.StopReplica: false, kmsg.UpdateMetadata: false, kmsg.ControlledShutdown: false,
	kmsg.Vote: false, kmsg.BeginQuorumEpoch: false, kmsg.EndQuorumEpoch: false, kmsg.FetchSnapshot: false, kmsg.UpdateRaftVoter: false,
	kmsg.AlterPartition: false, kmsg.Envelope: false, kmsg.BrokerRegistration: false, kmsg.BrokerHeartbeat: false,
	kmsg.AllocateProducerIDs: false, kmsg.ControllerRegistration: false, kmsg.AssignReplicasToDirs: false,
	kmsg.InitializeShareGroupState: false, kmsg.ReadShareGroupState: false, kmsg.WriteShareGroupState: false,
	kmsg.DeleteShareGroupState: false, kmsg.ReadShareGroupStateSummary: false,
}

// Policy says which of the APIs that this build knows a listener refuses.
type Policy struct {
	refused [kmsg.MaxKey + 1]bool
	// keepsCredentials is set if kproxy logs in at the brokers, so that credentialAPIs would give
	// out credentials of the proxy's principal. A client that may not use them does not see
	// them in ApiVersions either, nor Envelope, which could hold them.
	keepsCredentials bool
	// KeepsReplicas is set if requests that name a replica are refused. A client that fetches
	// as a follower changes the leader's high watermark. On a cluster where the proxy logs in,
	// it would do so as the proxy's principal.
	KeepsReplicas bool
	// Filters is set if the listener's configuration has a preset or a deny list. Then kproxy
	// forwards nothing that it cannot parse.
	Filters bool
}

// newPolicy returns the policy of a listener. login says that kproxy logs in at the brokers.
func (a *APIs) newPolicy(login bool) *Policy {
	p := &Policy{Filters: a.Preset != "" || len(a.Deny) > 0}
	for key := range p.refused {
		p.refused[key] = a.Preset == ReadOnly && !forReaders[kmsg.Key(key)]
	}
	if p.keepsCredentials = login; login {
		p.Set(true, credentialAPIs...)
	}
	for _, name := range a.Allow {
		p.Set(false, apiCalled(name))
	}
	for _, name := range a.Deny {
		p.Set(true, apiCalled(name))
	}
	if p.KeepsReplicas = p.Filters || login; p.KeepsReplicas {
		p.Set(true, kmsg.Envelope) // it holds another request, which may be one of credentialAPIs
	}
	return p
}

// Set refuses APIs, or allows them again.
func (p *Policy) Set(refused bool, keys ...kmsg.Key) {
	for _, key := range keys {
		p.refused[key] = refused
	}
}

// Refuses reports whether requests with this key are refused.
func (p *Policy) Refuses(key int16) bool {
	return key >= 0 && int(key) < len(p.refused) && p.refused[key]
}

// Hides reports whether a known API is left out of responses to ApiVersions.
func (p *Policy) Hides(key int16) bool {
	isCredential := key == kmsg.Envelope.Int16() || slices.Contains(credentialAPIs, kmsg.Key(key))
	return p.keepsCredentials && isCredential && p.Refuses(key)
}

// unknownAPI is the result of apiCalled for a name that no API has.
const unknownAPI kmsg.Key = -1

// apiCalled returns the API with this name. Case does not matter: Kafka writes
// InitProducerId, and others write InitProducerID.
func apiCalled(name string) kmsg.Key {
	for key := range int16(kmsg.MaxKey + 1) {
		if rewrite.Known(key) && strings.EqualFold(kmsg.NameForKey(key), name) {
			return kmsg.Key(key)
		}
	}
	return unknownAPI
}

// apis checks the APIs of a listener.
func (v *validator) apis(key string, a *APIs) {
	if a.Preset != "" && a.Preset != ReadOnly {
		v.add(key+".preset", fmt.Sprintf("%q is no preset", a.Preset), "write "+string(ReadOnly)+", or leave the key out")
	}
	allowed := map[kmsg.Key]bool{}
	for i, name := range a.Allow {
		item := item(key+".allow", i)
		api := apiCalled(name)
		if allowed[api] = true; api == unknownAPI {
			v.unknownAPI(item, name)
		}
		if api == kmsg.Envelope && (a.Preset != "" || len(a.Deny) > 0) {
			v.add(item, "Envelope holds other requests, which would not be looked at", "take it out")
		}
	}
	for i, name := range a.Deny {
		item := item(key+".deny", i)
		switch api := apiCalled(name); {
		case api == unknownAPI:
			v.unknownAPI(item, name)
		case allowed[api]:
			v.add(item, name+" is in allow too", "keep it in one of them")
		case api == kmsg.ApiVersions:
			v.add(item, "no client can begin without ApiVersions", "take it out")
		}
	}
}

func (v *validator) unknownAPI(key, name string) {
	v.add(key, fmt.Sprintf("%q is no API that this build knows", name), "write names as Kafka has them, such as Produce or CreateTopics")
}
