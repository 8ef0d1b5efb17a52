package connect

import (
	"context"
	"regexp"

	"kproxy/internal/doctor"
	"kproxy/internal/files"
	"kproxy/internal/foreign"
)

// Lines of a client's file with keys that advice depends on.
var (
	rdkafkaKey   = regexp.MustCompile(`(?m)^[ \t]*(metadata\.broker\.list|sasl\.(username|password|mechanisms)|ssl\.(ca|certificate|key)\.(location|pem)|enable\.ssl\.certificate\.verification)[ \t]*=`)
	mechanismKey = regexp.MustCompile(`(?m)^[ \t]*(sasl\.mechanisms?)[ \t]*[=:]`)
	storeKey     = regexp.MustCompile(`(?m)^[ \t]*ssl\.(?:truststore|ca)\.location[ \t]*[=:][ \t]*([^\r\n]+)`)
)

// LookAtFile gives u the style of keys in a client's file. It skips a pipe, which was read
// already.
func LookAtFile(ctx context.Context, file string, u *doctor.User) {
	u.File = file
	if files.IsPipe(ctx, file) {
		return
	}
	data, err := files.ReadArgument(ctx, file, maxFile)
	if err != nil {
		return
	}
	u.Librdkafka = rdkafkaKey.Match(data)
	if m := mechanismKey.FindSubmatch(data); m != nil {
		u.Mechanism = string(m[1])
	}
	if m := storeKey.FindSubmatch(data); m != nil {
		u.Store = foreign.LineOf(string(m[1]), 100)
	}
}
