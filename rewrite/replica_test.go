package rewrite

import (
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// replicaOf returns the replica that kmsg finds in a request, and whether the request has
// such a field.
func replicaOf(req kmsg.Request) (replica int32, ok bool) {
	switch req := req.(type) {
	case *kmsg.FetchRequest:
		if req.Version >= fetchReplicaState {
			return req.ReplicaState.ID, true
		}
		return req.ReplicaID, true
	case *kmsg.ListOffsetsRequest:
		return req.ReplicaID, true
	case *kmsg.OffsetForLeaderEpochRequest:
		return req.ReplicaID, req.Version >= 3
	default:
		return -1, false
	}
}

// namesReplica is the proxy's result for a request's body, of which piece more bytes
// arrive at each turn.
func namesReplica(key, version int16, body []byte, piece int) (bool, error) {
	switch ReplicaOf(key, version) {
	case NoReplica:
		return false, nil
	case AtFront:
		r := wire.NewReader(body)
		return r.Int32() >= 0, r.Err()
	default:
	}
	var w Walker
	w.StartRequest(key, version, len(body))
	for at, have := 0, piece; ; {
		step, err := w.Next(body[at:max(at, min(have, len(body)))])
		switch {
		case err != nil:
			return false, err
		case step.Verb == Need:
			have += piece
		case step.Verb == Pass:
			at += step.N
		default:
			return FetchesAsReplica(body[at:])
		}
	}
}

// Every version of every API that has a replica's field is found, where kmsg has it.
func TestReplicas(t *testing.T) {
	g := newGenerator(11)
	for key := range int16(kmsg.MaxKey + 1) {
		req := kmsg.RequestForKey(key)
		if req == nil {
			continue
		}
		for version := range req.MaxVersion() + 1 {
			req.SetVersion(version)
			_, has := replicaOf(req)
			if has != (ReplicaOf(key, version) != NoReplica) {
				t.Fatalf("%s v%d: a replica's field: %t", kmsg.NameForKey(key), version, has)
			}
			for round := 0; has && round < 40; round++ {
				req := kmsg.RequestForKey(key)
				g.fill(reflect.ValueOf(req).Elem(), "")
				req.SetVersion(version)
				replica, _ := replicaOf(req)
				got, err := namesReplica(key, version, req.AppendTo(nil), 1+round*round)
				if err != nil || got != (replica >= 0) {
					t.Fatalf("%s v%d: replica %d: got %t, %v", kmsg.NameForKey(key), version, replica, got, err)
				}
			}
		}
	}
}

// A new field of kmsg that names a replica, or a broker as the sender, fails here.
func TestReplicaFieldsAreKnown(t *testing.T) {
	for key := range int16(kmsg.MaxKey + 1) {
		req := kmsg.RequestForKey(key)
		if req == nil {
			continue
		}
		v := reflect.ValueOf(req).Elem()
		has := v.FieldByName("ReplicaID").IsValid() || v.FieldByName("ReplicaState").IsValid()
		switch kmsg.Key(key) {
		case kmsg.FetchSnapshot: // between controllers
		default:
			if want := ReplicaOf(key, 99) != NoReplica; has != want {
				t.Errorf("%s: a replica's field in kmsg: %t, in ReplicaOf: %t", kmsg.NameForKey(key), has, want)
			}
		}
	}
}

func FuzzFetchesAsReplica(f *testing.F) {
	g := newGenerator(12)
	for version := int16(fetchReplicaState); version <= 18; version++ {
		req := kmsg.NewPtrFetchRequest()
		g.fill(reflect.ValueOf(req).Elem(), "")
		req.SetVersion(version)
		f.Add(version, req.AppendTo(nil), uint8(7))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte, piece uint8) {
		v := fetchReplicaState + (version & 3)
		whole, err := namesReplica(kmsg.Fetch.Int16(), v, body, len(body))
		pieces, pieceErr := namesReplica(kmsg.Fetch.Int16(), v, body, int(piece)+1)
		if whole != pieces || (err == nil) != (pieceErr == nil) {
			t.Errorf("whole: %t, %v; in pieces: %t, %v", whole, err, pieces, pieceErr)
		}
	})
}
