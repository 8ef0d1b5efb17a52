package rewrite

import "fmt"

// intact checks a response before kmsg decodes it (see Decode), and returns an
// error if the response contradicts itself. Responses with a layout are walked;
// the others have an inspector.
func intact(key, version int16, payload []byte) error {
	if versions := layouts[key]; version < 0 || int(version) >= len(versions) || versions[version] == nil {
		return inspect(key, version, payload)
	}
	var w Walker
	w.Start(key, version, len(payload))
	for {
		step, err := w.Next(payload[len(payload)-w.left:])
		switch {
		case err != nil:
			return err
		case step.Verb == Tail && step.N > 0:
			return parseError(key, version, fmt.Errorf("%d bytes behind its end", step.N))
		case step.Verb == Tail:
			return nil
		}
	}
}
