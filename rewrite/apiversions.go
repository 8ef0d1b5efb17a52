package rewrite

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

const (
	apiVersionsMax = 5 // newest version of ApiVersions understood
	apiEntryLen    = 6 // api_key, min_version, max_version
)

// apiVersions rewrites ApiVersions v0-5.
//
// The response header is never flexible, so that a client can read it before it knows the
// broker's versions (KIP-511). The maximum of an API that is parsed here is lowered to
// the newest known version, in place. An API of which no version is understood is left
// out, and so are those that this build does not know, and those that Hidden names.
// Minimums stay: Kafka 4 says Produce 0 although it takes 3 and later, because librdkafka
// disables compression otherwise (KAFKA-18659).
//
// An API that is refused stays, at the versions that a response can refuse. Clients infer
// a broker's features from the list: librdkafka reads no record in the format of Kafka
// 0.11 where Produce v3 is not offered, although it does not ask for it.
//
// An API that the caller responds to itself is shown at the caller's versions. Everything else, finalized features
// included, goes byte for byte.
func (r *Rewriter) apiVersions(version int16, payload []byte) ([]byte, Notes, error) {
	rd := wire.NewReader(payload)
	code := rd.Int16()
	if rd.Err() == nil && code == kerr.UnsupportedVersion.Code {
		return payload, Notes{}, nil // in the layout of v0 whatever version was asked for; the client asks again
	}
	flexible := version >= 3
	n := rd.ArrayLen(flexible)
	entries := rd.Offset()
	out := make([]byte, 0, len(payload))
	notes := Notes{Misrouted: code == kerr.RebootstrapRequired.Code}
	kept, lowered := 0, false
	total := n
	for ; n > 0; n-- {
		start := rd.Offset()
		key, low, high := rd.Int16(), rd.Int16(), rd.Int16()
		if flexible {
			rd.SkipTags()
		}
		if rd.Err() != nil {
			break
		}
		if r.Hidden != nil && r.Hidden(key) {
			continue
		}
		low, high = r.offered(key, low, high)
		isRefused := r.Refused != nil && r.Refused(key)
		limit, ok := r.limit(key, low, high, isRefused)
		if !ok {
			if !isRefused { // no client needs an API that it may not use
				notes.Hidden = append(notes.Hidden, key)
			}
			continue
		}
		kept++
		out = append(out, payload[start:rd.Offset()]...)
		entry := out[len(out)-(rd.Offset()-start):]
		binary.BigEndian.PutUint16(entry[2:], uint16(low))
		binary.BigEndian.PutUint16(entry[apiEntryLen-2:], uint16(limit))
		lowered = lowered || key == kmsg.Produce.Int16() && limit < high && !isRefused
	}
	if rd.Err() != nil {
		return nil, Notes{}, parseError(kmsg.ApiVersions.Int16(), version, rd.Err())
	}
	front := appendArrayLen(payload[:2:2], kept, flexible)
	if kept == max(total, 0) {
		front = payload[:entries:entries] // also keeps a null array null
	}
	rest := payload[rd.Offset():]
	// Clients of transaction.version 2 leave AddPartitionsToTxn to Produce
	// v12 (KIP-890); the versions that later ones need are not known.
	notes.TxnLowered = lowered && flexible && transactionVersion(rest) > 2
	return append(append(front, out...), rest...), notes, nil
}

// offered returns the versions of an API of those that respond to it: the broker, which has these, or the caller.
func (r *Rewriter) offered(key, low, high int16) (ownLow, ownHigh int16) {
	if r.Answered != nil {
		if ownLow, ownHigh, ok := r.Answered(key); ok {
			return ownLow, ownHigh
		}
	}
	return low, high
}

// limit returns the newest version of key to show to clients, out of the
// broker's low to high; ok is false if the API is to be left out.
func (r *Rewriter) limit(key, low, high int16, isRefused bool) (limit int16, ok bool) {
	if isRefused {
		newest := newestRefusable(key)
		return min(high, newest), low <= newest
	}
	if newest, isParsed := MaxVersion(key); isParsed {
		return min(high, newest), low <= newest
	}
	return high, r.UnknownAPIs || Known(key)
}

// tagFinalizedFeatures is the number of the tag with the cluster's finalized features
// (KIP-584).
const tagFinalizedFeatures = 2

// transactionVersion returns the level at which an ApiVersions response finalizes
// transaction.version, or 0. rest are the bytes after the entries.
func transactionVersion(rest []byte) int16 {
	rd := wire.NewReader(rest)
	rd.Int32() // throttle time
	for n := rd.TagCount(); n > 0 && rd.Err() == nil; n-- {
		number := rd.Uvarint()
		features := wire.NewReader(rd.Take(int(rd.Uvarint())))
		if number != tagFinalizedFeatures {
			continue
		}
		for m := features.ArrayLen(true); m > 0 && features.Err() == nil; m-- {
			name, level := features.String(true), features.Int16()
			features.Int16() // the lowest level
			features.SkipTags()
			if features.Err() == nil && string(name) == "transaction.version" {
				return level
			}
		}
	}
	return 0
}

// AnswersAPIVersions reports whether the proxy has to respond to an ApiVersions request
// of this version itself, because the broker might know a layout that is not understood
// here. AppendUnsupportedAPIVersions makes that response.
func AnswersAPIVersions(key, version int16) bool {
	return key == kmsg.ApiVersions.Int16() && (version < 0 || version > apiVersionsMax)
}

// AppendUnsupportedAPIVersions appends the payload of the response with the supported
// versions of ApiVersions: UNSUPPORTED_VERSION in the layout of v0, with one entry for
// ApiVersions itself (KIP-511). Clients ask again.
func AppendUnsupportedAPIVersions(dst []byte) []byte {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	entry := kmsg.NewApiVersionsResponseApiKey()
	entry.ApiKey = kmsg.ApiVersions.Int16()
	entry.MaxVersion = apiVersionsMax
	resp.ApiKeys = append(resp.ApiKeys, entry)
	return resp.AppendTo(dst)
}
