package proxy

import (
	"errors"

	"kproxy/internal/wire"
	"kproxy/rewrite"
)

// maxHeldSettings bounds the DescribeConfigs responses that are held until they are
// whole, and may change their length. Those that can have an address are about
// brokers: Kafka 4.4 has 82 KB for one of them, with every synonym and every
// documentation. What is longer is about topics, and can have any length.
const maxHeldSettings = 512 << 10

// settings forwards a DescribeConfigs response without the addresses in it. Of one
// that is not held the size goes ahead, and addresses are overwritten.
func (r response) settings() error {
	if r.frame <= maxHeldSettings {
		return r.whole()
	}
	if err := r.down.Pass(wire.ResponsePrefixLen); err != nil {
		return err
	}
	var c rewrite.Configs
	c.Start(r.req.Version, r.frame-wire.ResponsePrefixLen, true)
	for need := 0; !c.Done(); {
		b, err := r.down.Peek(need)
		if err != nil {
			return err
		}
		n, out, err := c.Next(b)
		switch {
		case errors.Is(err, wire.ErrShort) && len(b) < rewrite.MaxWhole:
			need = min(2*len(b)+minHead, c.Left())
			continue
		case err != nil:
			return end(BadAnswer, err)
		case out == nil:
			err = r.down.PassPart(n)
		default:
			if err = r.down.Write(out); err == nil {
				err = r.down.Drop(n)
			}
		}
		if err != nil {
			return err
		}
		need = 0
	}
	return r.down.Pass(c.Left())
}
