package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/rewrite"
)

// version is set by a release build: -ldflags "-X main.version=v1.2.3". Without it, the
// module's version is printed.
var version string

// versionInfo has the facts that a bug report should have.
type versionInfo struct {
	Version string       `json:"version"`
	Commit  string       `json:"commit"`
	Go      string       `json:"go"`
	Newest  newestAPI    `json:"newest_kafka_api"`
	Parsed  []parsedAPIs `json:"parsed_kafka_apis"`
}

// newestAPI is the newest API that this build knows. For newer ones see unknown_apis.
type newestAPI struct {
	Key  int16  `json:"key"`
	Name string `json:"name"`
}

// parsedAPIs is an API whose responses hold addresses.
type parsedAPIs struct {
	Key        int16  `json:"key"`
	Name       string `json:"name"`
	MaxVersion int16  `json:"max_version"`
}

func newVersionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and the newest Kafka APIs that it understands",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(buildVersion())
			}
			return buildVersion().print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// buildVersion reads the information that the linker and the go command have left in the
// binary.
func buildVersion() versionInfo {
	v := versionInfo{
		Version: version,
		Go:      runtime.Version(),
		Newest:  newestAPI{Key: kmsg.MaxKey, Name: kmsg.NameForKey(kmsg.MaxKey)},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Version = cmp.Or(v.Version, info.Main.Version)
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				v.Commit = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				v.Commit += " with changes" // the go command writes it after the revision
			}
		}
	}
	v.Version = cmp.Or(v.Version, "(unknown)")
	v.Commit = cmp.Or(v.Commit, "(unknown)")
	for _, api := range rewrite.Supported() {
		v.Parsed = append(v.Parsed, parsedAPIs(api))
	}
	return v
}

func (v versionInfo) print(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "kproxy %s\ncommit %s\n%s\nnewest Kafka API known: %s (key %d)\n\n", v.Version, v.Commit, v.Go, v.Newest.Name, v.Newest.Key); err != nil {
		return err
	}
	t := newTable(w, "REWRITTEN API", "KEY", "UP TO")
	for _, api := range v.Parsed {
		t.line(api.Name, fmt.Sprint(api.Key), fmt.Sprintf("v%d", api.MaxVersion))
	}
	return t.flush()
}
