package rewrite

import "fmt"

// intact goes over an answer before kmsg decodes it, and returns an error if the
// answer contradicts itself. kmsg takes counts on trust: told of four billion
// tags it tries four billion times, a minute for an answer of fifteen bytes, and
// for an array of as many elements as bytes are left it allocates all of them.
//
// Answers without a layout need no such look: FindCoordinator before v3 has
// neither tags nor arrays, and ApiVersions is not decoded by kmsg.
func intact(key, version int16, payload []byte) error {
	if versions := layouts[key]; len(versions) == 0 || versions[version] == nil {
		return nil
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
