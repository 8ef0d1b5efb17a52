package rewrite

import (
	"fmt"
	"math"
	"sort"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Treatment is how a response of one API and version is handled.
type Treatment uint8

// The treatments.
const (
	Opaque   Treatment = iota // no address can be in it: forwarded byte for byte
	Head                      // addresses in front, then bytes that go as they are
	Whole                     // decoded whole, at most MaxWhole bytes
	Walk                      // addresses at the end, behind records that are not looked at
	Settings                  // addresses among the values of settings, anywhere: withheld
	Refuse                    // holds addresses in a layout that this build does not know
)

var treatments = [...]string{Opaque: "opaque", Head: "head", Whole: "whole", Walk: "walk", Settings: "settings", Refuse: "refuse"}

// String returns the treatment's name in lower case.
func (t Treatment) String() string {
	if int(t) >= len(treatments) {
		return fmt.Sprintf("treatment %d", uint8(t))
	}
	return treatments[t]
}

// MaxWhole is the largest response that is decoded whole, and the largest head, in bytes:
// thousands of times their usual size, and small beside a machine's memory.
const MaxWhole = 16 << 20

// parsed lists every API whose responses are parsed here, with the newest version
// understood and the first flexible one (-1: none). ApiVersions promises a
// client no version beyond these. The numbers are written out and not taken
// from kmsg, whose next release must not raise a version that was not read here.
var parsed = []struct {
	key, max, flexible int16
	treatment          func(flexible bool) Treatment
}{
	{kmsg.Produce.Int16(), 13, 9, walkFlexible},
	{kmsg.Fetch.Int16(), 18, 12, walkFlexible},
	{kmsg.Metadata.Int16(), 13, 9, always(Head)},
	{kmsg.FindCoordinator.Int16(), 6, 3, always(Whole)},
	{kmsg.ApiVersions.Int16(), 5, 3, always(Whole)},
	{kmsg.DescribeConfigs.Int16(), 4, 4, always(Settings)},
	{kmsg.DescribeQuorum.Int16(), 2, 0, always(Whole)},
	{kmsg.DescribeCluster.Int16(), 2, 0, always(Whole)},
	{kmsg.ShareFetch.Int16(), 2, 0, always(Walk)},
	{kmsg.ShareAcknowledge.Int16(), 2, 0, always(Walk)},
}

func always(t Treatment) func(bool) Treatment { return func(bool) Treatment { return t } }

// walkFlexible is for responses whose addresses are in a tag: versions without
// tags hold none.
func walkFlexible(flexible bool) Treatment {
	if flexible {
		return Walk
	}
	return Opaque
}

// TreatmentOf returns the treatment of responses to requests of this key and version.
func TreatmentOf(key, version int16) Treatment {
	for _, p := range parsed {
		if p.key != key {
			continue
		}
		if version < 0 || version > p.max {
			return Refuse
		}
		return p.treatment(flexible(p.flexible, version))
	}
	return Opaque
}

func flexible(from, version int16) bool { return from >= 0 && version >= from }

// NamesLeaders reports whether the brokers that an API's responses name are leader hints.
func NamesLeaders(key int16) bool {
	for _, p := range parsed {
		if p.key == key {
			return p.treatment(true) == Walk
		}
	}
	return false
}

// MaxVersion returns the newest version of key that is understood; ok is false
// for an API whose responses are not parsed, and so have no such limit.
func MaxVersion(key int16) (v int16, ok bool) {
	for _, p := range parsed {
		if p.key == key {
			return p.max, true
		}
	}
	return 0, false
}

// known has true for every key that kmsg has.
var known = func() (all [kmsg.MaxKey + 1]bool) {
	for key := range all {
		all[key] = kmsg.RequestForKey(int16(key)) != nil
	}
	return all
}()

// Known reports whether key is an API that this build has heard of. A response
// of an unknown one may hold addresses where kproxy does not look.
func Known(key int16) bool { return key >= 0 && int(key) < len(known) && known[key] }

// versionCount is how many there can be, of which none is negative.
const versionCount = math.MaxInt16 + 1

// flexibleFrom has the first version of each key's requests that is flexible, or
// versionCount if none is. kmsg would have to make a request for it.
var flexibleFrom = func() (first [kmsg.MaxKey + 1]int) {
	for key := range first {
		first[key] = versionCount
		if req := kmsg.RequestForKey(int16(key)); req != nil {
			first[key] = sort.Search(versionCount, func(v int) bool {
				req.SetVersion(int16(v))
				return req.IsFlexible()
			})
		}
	}
	return first
}()

// FlexibleRequest reports whether the header of a request of this key and
// version ends in a tag section. For an unknown API it says no.
func FlexibleRequest(key, version int16) bool {
	return Known(key) && int(version) >= flexibleFrom[key]
}

// API is one of the APIs whose responses are parsed.
type API struct {
	Key        int16
	Name       string
	MaxVersion int16 // newest version understood
}

// Supported lists the APIs whose responses are parsed, by key.
func Supported() []API {
	apis := make([]API, len(parsed))
	for i, p := range parsed {
		apis[i] = API{Key: p.key, Name: kmsg.NameForKey(p.key), MaxVersion: p.max}
	}
	return apis
}
