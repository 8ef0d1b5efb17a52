package proxy

import (
	"encoding/binary"
	"errors"

	"kproxy/internal/inflight"
	"kproxy/internal/relay"
	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// unlessReplica forwards a request that can name a replica, if it names none. One
// that does is refused, as by a broker that does not authorize it.
func (p *requestPump) unlessReplica(r inflight.Request, frame int) error {
	h, err := readHeader(p.up)
	if err != nil {
		return err
	}
	if h.Len > frame {
		return end(BadRequest, wire.ErrMalformed)
	}
	var named bool
	switch {
	case rewrite.ReplicaOf(r.Key, r.Version) == rewrite.AtFront:
		named, err = p.replicaInFront(h.Len, frame)
	case frame > relay.BufferSize:
		return p.forwardUnlessReplica(r, h.Len, frame)
	default:
		named, err = p.replicaAtTail(r, h.Len, frame)
	}
	switch {
	case err != nil:
		return err
	case named:
		return p.refuse(r, frame)
	default:
		return p.forward(r, frame)
	}
}

const replicaLen = 4 // an INT32

// replicaInFront reports whether a body that begins at byte start of a frame names
// a replica. What is too short for that is the broker's to refuse.
func (p *requestPump) replicaInFront(start, frame int) (bool, error) {
	if frame < start+replicaLen {
		return false, nil
	}
	b, err := p.up.Peek(start + replicaLen)
	if err != nil {
		return false, err
	}
	return int32(binary.BigEndian.Uint32(b[start:])) >= 0, nil
}

// replicaAtTail is replicaInFront for a body whose tags name the replica, in a frame
// that fits the buffer.
func (p *requestPump) replicaAtTail(r inflight.Request, start, frame int) (bool, error) {
	b, err := p.up.Peek(frame)
	if err != nil {
		return false, err
	}
	var w rewrite.Walker
	w.StartRequest(r.Key, r.Version, frame-start)
	body := b[start:frame]
	at, err := tailIn(body, &w, BadRequest)
	if err != nil {
		return false, err
	}
	return namesReplica(body[at:])
}

func namesReplica(tags []byte) (bool, error) {
	named, err := rewrite.FetchesAsReplica(tags)
	if err != nil {
		return false, end(BadRequest, err)
	}
	return named, nil
}

// forwardUnlessReplica forwards a long request as far as its tags, and the rest if
// that names no replica. If it does, the session ends: a broker does not look at half
// a request.
func (p *requestPump) forwardUnlessReplica(r inflight.Request, start, frame int) error {
	if _, err := p.push(r); err != nil {
		return err
	}
	err := p.passUnlessReplica(r, start, frame)
	if side, ok := errors.AsType[*relay.SideError](err); ok && side.Reading {
		p.queue.Unpush()
	}
	return err
}

func (p *requestPump) passUnlessReplica(r inflight.Request, start, frame int) error {
	if err := p.up.PassPart(start); err != nil {
		return err
	}
	var w rewrite.Walker
	w.StartRequest(r.Key, r.Version, frame-start)
	n, err := passToTail(p.up, &w, BadRequest)
	if err != nil {
		return err
	}
	b, err := p.up.Peek(n)
	if err != nil {
		return err
	}
	named, err := namesReplica(b[:n])
	switch {
	case err != nil:
		return err
	case named:
		return &ended{
			reason: APIRefused,
			err:    errors.New("a Fetch that names a replica is not allowed on this listener"),
			fix:    "followers reach the brokers' own listeners; clients name no replica",
		}
	default:
		return p.up.Pass(n)
	}
}
