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
func (a answer) settings() error {
	if a.frame <= maxHeldSettings {
		return a.whole()
	}
	if err := a.down.Pass(wire.ResponsePrefixLen); err != nil {
		return err
	}
	var c rewrite.Configs
	c.Start(a.req.Version, a.frame-wire.ResponsePrefixLen, true)
	for need := 0; !c.Done(); {
		b, err := a.down.Peek(need)
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
			err = a.down.PassPart(n)
		default:
			if err = a.down.Write(out); err == nil {
				err = a.down.Drop(n)
			}
		}
		if err != nil {
			return err
		}
		need = 0
	}
	return a.down.Pass(c.Left())
}
