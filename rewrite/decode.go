package rewrite

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// Decode reads a response into resp, whose version must be set. payload is the frame
// behind the correlation id. It is the one place where kmsg decodes a peer's bytes: kmsg
// trusts counts, and tries four billion times where a count says so, or allocates a
// structure for each remaining byte. So a reader that trusts no count reads the payload
// first.
//
// It serves kproxy's own requests and the responses with treatment Whole. An API
// or a version that has no such reader here is an error.
func Decode(resp kmsg.Response, payload []byte) error {
	key, version := resp.Key(), resp.GetVersion()
	if err := intact(key, version, payload); err != nil {
		return err
	}
	_, body, err := splitHeader(payload, resp.IsFlexible() && key != kmsg.ApiVersions.Int16())
	if err == nil {
		err = resp.ReadFrom(body)
	}
	if err != nil {
		return parseError(key, version, err)
	}
	return nil
}

// inspectors check the responses that have no layout: those without tags, and
// those with arrays inside of tags. Each reads a body to its end.
var inspectors = map[int16]struct {
	newest int16 // version that is understood
	read   func(r *wire.Reader, version int16)
}{
	kmsg.ApiVersions.Int16():     {5, inspectAPIVersions},
	kmsg.Metadata.Int16():        {8, inspectMetadata},
	kmsg.SASLHandshake.Int16():   {1, inspectSASLHandshake},
	kmsg.DescribeConfigs.Int16(): {3, inspectDescribeConfigs},
	// v3 and later have a layout.
	kmsg.FindCoordinator.Int16(): {2, inspectFindCoordinator},
}

// inspect checks a response by its inspector.
func inspect(key, version int16, payload []byte) error {
	inspector, ok := inspectors[key]
	if !ok || version < 0 || version > inspector.newest {
		return fmt.Errorf("%s v%d is not decoded by this build", kmsg.NameForKey(key), version)
	}
	r := wire.NewReader(payload)
	inspector.read(&r, version)
	switch {
	case r.Err() != nil:
		return parseError(key, version, r.Err())
	case r.Len() > 0:
		return parseError(key, version, fmt.Errorf("%d bytes behind its end", r.Len()))
	default:
		return nil
	}
}

// each calls read for every element of the next array.
func each(r *wire.Reader, compact bool, read func()) {
	for n := r.ArrayLen(compact); n > 0 && r.Err() == nil; n-- {
		read()
	}
}

// inspectAPIVersions is for v0-5, whose tags hold arrays.
func inspectAPIVersions(r *wire.Reader, version int16) {
	flexible := version >= 3
	r.Int16() // error
	each(r, flexible, func() {
		r.Take(2 + 2 + 2) // key, min, max
		if flexible {
			r.SkipTags()
		}
	})
	if version >= 1 {
		r.Int32() // throttle time
	}
	if !flexible {
		return
	}
	for n := r.TagCount(); n > 0 && r.Err() == nil; n-- {
		number := r.Uvarint()
		value := wire.NewReader(r.Take(int(r.Uvarint())))
		switch number {
		case 0, tagFinalizedFeatures:
			each(&value, true, func() {
				value.String(true) // name
				value.Take(2 + 2)  // max, min
				value.SkipTags()
			})
		default:
			continue
		}
		if value.Err() != nil {
			r.Fail(value.Err())
		}
	}
}

// inspectMetadata is for v0-8.
func inspectMetadata(r *wire.Reader, version int16) {
	if version >= 3 {
		r.Int32() // throttle time
	}
	each(r, false, func() {
		r.Int32()       // node
		r.String(false) // host
		r.Int32()       // port
		if version >= 1 {
			r.String(false) // rack
		}
	})
	if version >= 2 {
		r.String(false) // cluster id
	}
	if version >= 1 {
		r.Int32() // controller
	}
	each(r, false, func() {
		r.Int16()       // error
		r.String(false) // name
		if version >= 1 {
			r.Int8() // is internal
		}
		each(r, false, func() { inspectPartition(r, version) })
		if version >= 8 {
			r.Int32() // authorized operations
		}
	})
	if version >= 8 {
		r.Int32() // authorized operations
	}
}

// inspectPartition is a partition of Metadata v0-8.
func inspectPartition(r *wire.Reader, version int16) {
	r.Take(2 + 4 + 4) // error, partition, leader
	if version >= 7 {
		r.Int32() // leader's epoch
	}
	each(r, false, func() { r.Int32() }) // replicas
	each(r, false, func() { r.Int32() }) // replicas in sync
	if version >= 5 {
		each(r, false, func() { r.Int32() }) // replicas that are offline
	}
}

// inspectSASLHandshake is for v0-1.
func inspectSASLHandshake(r *wire.Reader, _ int16) {
	r.Int16() // error
	each(r, false, func() { r.String(false) })
}

// inspectFindCoordinator is for v0-2.
func inspectFindCoordinator(r *wire.Reader, version int16) {
	if version >= 1 {
		r.Int32() // throttle time
	}
	r.Int16() // error
	if version >= 1 {
		r.String(false) // its message
	}
	r.Int32()       // node
	r.String(false) // host
	r.Int32()       // port
}

// inspectDescribeConfigs is for v0-3.
func inspectDescribeConfigs(r *wire.Reader, version int16) {
	r.Int32() // throttle time
	each(r, false, func() {
		r.Int16()       // error
		r.String(false) // its message
		r.Int8()        // resource type
		r.String(false) // resource name
		each(r, false, func() {
			r.String(false)   // name
			r.String(false)   // value
			r.Take(1 + 1 + 1) // read only; default, or source; sensitive
			if version >= 1 {
				each(r, false, func() {
					r.String(false) // name of the synonym
					r.String(false) // value
					r.Int8()        // source
				})
			}
			if version >= 3 {
				r.Int8()        // type
				r.String(false) // documentation
			}
		})
	})
}
