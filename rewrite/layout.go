package rewrite

import "github.com/twmb/franz-go/pkg/kmsg"

// A layout is the shape of a response as a list of steps, from the response
// header to the place where addresses can be. Versions differ in a few steps;
// every layout here is flexible (KIP-482): lengths are compact, structures end
// in tags. The fields of a step are named in the comment beside it.
type layout []step

type step struct {
	do stepKind
	n  int // pass: bytes; array: how many steps its elements have; next: how far back they start
}

type stepKind uint8

const (
	passFixed   stepKind = iota // n bytes
	passCompact                 // an unsigned varint, and as many bytes less one
	passTags                    // a tag section
	beginArray                  // an unsigned varint, and as many elements less one
	nextElement                 // back to the element's first step while elements are left
	atTail                      // the rest of the frame is the tail
)

func fixed(n int) layout { return layout{{passFixed, n}} }

// array is an array of elements that are made of these steps.
func array(element ...layout) layout {
	body := join(element...)
	l := layout{{beginArray, len(body) + 1}}
	l = append(l, body...)
	return append(l, step{nextElement, len(body)})
}

func join(parts ...layout) layout {
	var l layout
	for _, p := range parts {
		l = append(l, p...)
	}
	return l
}

// layouts holds the layout of every response with treatment Walk, and of those that
// intact checks: they end at the beginning of the tail.
var layouts = map[int16][]layout{
	kmsg.Produce.Int16():          byVersion(produceLayout, 9, 13),
	kmsg.Fetch.Int16():            byVersion(fetchLayout, 12, 18),
	kmsg.FindCoordinator.Int16():  byVersion(findCoordinatorLayout, 3, 6),
	kmsg.DescribeQuorum.Int16():   byVersion(describeQuorumLayout, 0, 2),
	kmsg.DescribeCluster.Int16():  byVersion(describeClusterLayout, 0, 2),
	kmsg.ShareFetch.Int16():       byVersion(shareFetchLayout, 0, 2),
	kmsg.ShareAcknowledge.Int16(): byVersion(shareAcknowledgeLayout, 0, 2),
}

// byVersion returns the layouts by version; those before first are nil.
func byVersion(of func(int16) layout, first, last int16) []layout {
	all := make([]layout, last+1)
	for v := first; v <= last; v++ {
		all[v] = join(compactTags, of(v), layout{{atTail, 0}}) // a response header is tags
	}
	return all
}

var (
	compactString = layout{{passCompact, 0}}
	compactBytes  = compactString
	compactTags   = layout{{passTags, 0}}
	uuid          = fixed(16)
)

func fetchLayout(v int16) layout {
	return join(
		fixed(4+2+4), // throttle time, error, session id
		array(
			topic(v, 13),
			array(
				fixed(4+2+8+8+8), // partition, error, high watermark, last stable offset, log start offset
				array(
					fixed(8+8), // aborted transactions: producer id, first offset
					compactTags,
				),
				fixed(4), // preferred read replica
				compactBytes,
				compactTags, // diverging epoch, current leader, snapshot id
			),
			compactTags,
		),
	)
}

func produceLayout(v int16) layout {
	return join(
		array(
			topic(v, 13),
			array(
				fixed(4+2+8+8+8), // partition, error, base offset, append time, log start offset
				array(
					fixed(4), // record errors: batch index
					compactString,
					compactTags,
				),
				compactString, // error message
				compactTags,   // current leader
			),
			compactTags,
		),
		fixed(4), // throttle time, behind the topics here
	)
}

// topic names the topic: by id from version byID on.
func topic(v, byID int16) layout {
	if v >= byID {
		return uuid
	}
	return compactString
}

func shareFetchLayout(v int16) layout {
	return join(
		fixed(4+2), // throttle time, error
		compactString,
		fixedFrom(1, v, 4), // acquisition lock timeout
		array(
			uuid,
			array(
				fixed(4+2), // partition, error
				compactString,
				fixed(2), // acknowledge error
				compactString,
				currentLeader,
				compactBytes,
				array(
					fixed(8+8+2), // acquired records: first and last offset, delivery count
					compactTags,
				),
				compactTags,
			),
			compactTags,
		),
	)
}

func shareAcknowledgeLayout(v int16) layout {
	return join(
		fixed(4+2), // throttle time, error
		compactString,
		fixedFrom(2, v, 4), // acquisition lock timeout
		array(
			uuid,
			array(
				fixed(4+2), // partition, error
				compactString,
				currentLeader,
				compactTags,
			),
			compactTags,
		),
	)
}

func findCoordinatorLayout(v int16) layout {
	if v == 3 {
		return join(
			fixed(4+2),    // throttle time, error
			compactString, // error message
			fixed(4),      // node id
			compactString, // host
			fixed(4),      // port
			compactTags,
		)
	}
	return join(
		fixed(4), // throttle time
		array(
			compactString, // key
			fixed(4),      // node id
			compactString, // host
			fixed(4+2),    // port, error
			compactString, // error message
			compactTags,
		),
		compactTags,
	)
}

func describeClusterLayout(v int16) layout {
	return join(
		fixed(4+2),         // throttle time, error
		compactString,      // error message
		fixedFrom(1, v, 1), // endpoint type
		compactString,      // cluster id
		fixed(4),           // controller id
		array(
			fixed(4),           // node id
			compactString,      // host
			fixed(4),           // port
			compactString,      // rack
			fixedFrom(2, v, 1), // is fenced
			compactTags,
		),
		fixed(4), // authorized operations
		compactTags,
	)
}

func describeQuorumLayout(v int16) layout {
	replicas := array(
		fixed(4),             // replica id
		fixedFrom(2, v, 16),  // directory id
		fixed(8),             // log end offset
		fixedFrom(1, v, 8+8), // times of its last fetch, and when it had caught up
		compactTags,
	)
	return join(
		fixed(2), // error
		compactFrom(2, v),
		array(
			compactString, // topic
			array(
				fixed(4+2), // partition, error
				compactFrom(2, v),
				fixed(4+4+8), // leader id, epoch, high watermark
				replicas,     // voters
				replicas,     // observers
				compactTags,
			),
			compactTags,
		),
		nodesFrom(2, v),
		compactTags,
	)
}

// nodesFrom is the array of controllers with their listeners.
func nodesFrom(first, v int16) layout {
	if v < first {
		return nil
	}
	return array(
		fixed(4), // node id
		array(
			compactString, // name
			compactString, // host
			fixed(2),      // port
			compactTags,
		),
		compactTags,
	)
}

// compactFrom is a string, such as an error message, from version first on.
func compactFrom(first, v int16) layout {
	if v < first {
		return nil
	}
	return compactString
}

// currentLeader is mandatory in the share APIs: leader id, epoch, tags.
var currentLeader = join(fixed(4+4), compactTags)

// fixedFrom is n bytes from version first on.
func fixedFrom(first, v int16, n int) layout {
	if v < first {
		return nil
	}
	return fixed(n)
}
