package connect

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"kproxy/internal/foreign"
	"kproxy/internal/nearest"
)

//go:embed clientkeys.txt
var clientKeysText string

// clientKeys are the keys that Kafka's own clients know.
var clientKeys = parseClientKeys(clientKeysText)

// knownKeys has each of clientKeys.
var knownKeys = func() map[string]bool {
	all := make(map[string]bool, len(clientKeys))
	for _, key := range clientKeys {
		all[key] = true
	}
	return all
}()

func parseClientKeys(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			all = append(all, line)
		}
	}
	return all
}

// neededKeys are the keys that fromKeys reads. A name that is nearly one of them is an
// error: if it were ignored, kproxy would reach another cluster, or in another way.
var neededKeys = []string{
	"bootstrap.servers", "metadata.broker.list", "security.protocol",
	"sasl.mechanism", "sasl.mechanisms", "sasl.jaas.config", "sasl.username", "sasl.password",
	"sasl.login.callback.handler.class", "sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.method",
	"sasl.oauthbearer.metadata.authentication.type",
	"sasl.oauthbearer.client.id", "sasl.oauthbearer.client.credentials.client.id",
	"sasl.oauthbearer.client.secret", "sasl.oauthbearer.client.credentials.client.secret",
	"sasl.oauthbearer.scope", "sasl.oauthbearer.extensions",
	"ssl.truststore.location", "ssl.truststore.password", "ssl.truststore.certificates",
	"ssl.ca.location", "ssl.ca.pem", "ssl.endpoint.identification.algorithm", "enable.ssl.certificate.verification",
	"ssl.keystore.location", "ssl.keystore.password", "ssl.keystore.certificate.chain", "ssl.keystore.key", "ssl.key.password",
	"ssl.certificate.location", "ssl.certificate.pem", "ssl.key.location", "ssl.key.pem",
}

// otherKeys are the prefixes of keys that are not a client's own: those of serializers
// and schema registries, and those of Kafka Streams and Connect for their clients.
var otherKeys = []string{"schema.registry.", "basic.auth.", "bearer.auth.", "confluent.", "producer.", "consumer.", "admin.", "main.consumer.", "restore.consumer.", "global.consumer."}

// isOther reports whether a key is not a client's, but no mistake.
func isOther(key string) bool {
	return strings.HasPrefix(key, "[") || // a section of an INI file, as Confluent's examples have it
		slices.ContainsFunc(otherKeys, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

// maxApart is how many letters a misspelt key may differ in from one that is needed.
const maxApart = 2

// maxKey is the longest key, in bytes, that is compared with known ones. It is twice the
// longest known key.
const maxKey = 100

// maxUnknown is how many keys are named that Kafka's clients do not know: an
// application's file may have hundreds of its own.
const maxUnknown = 5

// maxMisspelt is how many unknown keys are compared with known ones.
const maxMisspelt = 1000

// misspelt returns the key that an unknown one most likely means; "" if there is none.
func misspelt(name string, known []string) string {
	if len(name) > maxKey {
		return ""
	}
	dots := strings.NewReplacer("_", ".", "-", ".").Replace(name)
	closest, apart := nearest.Of(dots, known)
	if apart > maxApart || apart >= len(name)/2 {
		return ""
	}
	return closest
}

// ending returns the key that kproxy needs and that another one ends with, as
// spring.kafka.bootstrap-servers does; "" if there is none.
func ending(name string) string {
	dots := strings.NewReplacer("_", ".", "-", ".").Replace(strings.ToLower(name))
	for _, key := range neededKeys {
		if strings.HasSuffix(dots, "."+key) {
			return key
		}
	}
	return ""
}

// unknown looks for keys that Kafka's clients do not know. Those that are nearly one
// that kproxy needs are errors; the others are notes.
func (f *clientFile) unknown() (errs []error, notes []string) {
	left, compared := 0, 0
	for _, e := range f.entries {
		if knownKeys[e.key] || isOther(e.key) {
			continue
		}
		if compared++; compared > maxMisspelt {
			left++
			continue
		}
		name := foreign.Line(e.key)
		if meant := misspelt(e.key, neededKeys); meant != "" {
			errs = append(errs, &keyError{line: e.line, key: name, problem: "unknown key; did you mean " + meant + "?"})
			continue
		}
		if len(notes) == maxUnknown {
			left++
			continue
		}
		text := "Kafka's clients do not know this key, and kproxy does not use it"
		if meant := cmp.Or(misspelt(e.key, clientKeys), ending(e.key)); meant != "" {
			text += "; did you mean " + meant + "?"
		}
		notes = append(notes, f.at(e.line)+name+": "+text)
	}
	if left > 0 {
		notes = append(notes, fmt.Sprintf("%s: and %d more that Kafka's clients do not know", f.name, left))
	}
	return errs, notes
}
