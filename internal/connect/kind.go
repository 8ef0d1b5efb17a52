package connect

import (
	"context"
	"regexp"

	"kproxy/internal/files"
)

// rdkafkaKey is a line with a key that librdkafka's clients have and Java's do not.
var rdkafkaKey = regexp.MustCompile(`(?m)^[ \t]*(metadata\.broker\.list|sasl\.(username|password|mechanisms)|ssl\.(ca|certificate|key)\.(location|pem)|enable\.ssl\.certificate\.verification)[ \t]*=`)

// IsLibrdkafka reports whether a client's file has keys of librdkafka's. It does not know of a
// pipe, which was read already.
func IsLibrdkafka(ctx context.Context, file string) bool {
	if files.IsPipe(ctx, file) {
		return false
	}
	data, err := files.ReadArgument(ctx, file, maxFile)
	return err == nil && rdkafkaKey.Match(data)
}
