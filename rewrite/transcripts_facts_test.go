package rewrite

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// TestTranscriptsOfferVersions is the table of docs/wire.md: the versions that brokers
// offered to real clients.
func TestTranscriptsOfferVersions(t *testing.T) {
	type versions map[kmsg.Key][2]int16
	for release, want := range map[string]versions{
		"2.2.1": {
			kmsg.Produce: {0, 7}, kmsg.Fetch: {0, 10}, kmsg.Metadata: {0, 7}, kmsg.FindCoordinator: {0, 2},
			kmsg.DescribeConfigs: {0, 2}, kmsg.ApiVersions: {0, 2}, kmsg.AddPartitionsToTxn: {0, 1}, kmsg.EndTxn: {0, 1},
		},
		"2.8.2": {
			kmsg.Produce: {0, 9}, kmsg.Fetch: {0, 12}, kmsg.Metadata: {0, 11}, kmsg.FindCoordinator: {0, 3}, kmsg.DescribeCluster: {0, 0},
			kmsg.DescribeConfigs: {0, 4}, kmsg.ApiVersions: {0, 3}, kmsg.AddPartitionsToTxn: {0, 3}, kmsg.EndTxn: {0, 3},
		},
		"3.6.2": {
			kmsg.Produce: {0, 9}, kmsg.Fetch: {0, 15}, kmsg.Metadata: {0, 12}, kmsg.FindCoordinator: {0, 4}, kmsg.DescribeCluster: {0, 0},
			kmsg.DescribeConfigs: {0, 4}, kmsg.ApiVersions: {0, 3}, kmsg.AddPartitionsToTxn: {0, 4}, kmsg.EndTxn: {0, 3}, kmsg.DescribeQuorum: {0, 1},
		},
		"3.9.2": {
			kmsg.Produce: {0, 11}, kmsg.Fetch: {0, 17}, kmsg.Metadata: {0, 12}, kmsg.FindCoordinator: {0, 6}, kmsg.DescribeCluster: {0, 1},
			kmsg.DescribeConfigs: {0, 4}, kmsg.ApiVersions: {0, 4}, kmsg.AddPartitionsToTxn: {0, 5}, kmsg.EndTxn: {0, 4}, kmsg.DescribeQuorum: {0, 2},
		},
		"4.0.2": {
			kmsg.Produce: {0, 12}, kmsg.Fetch: {4, 17}, kmsg.Metadata: {0, 13}, kmsg.FindCoordinator: {0, 6}, kmsg.DescribeCluster: {0, 2},
			kmsg.DescribeConfigs: {1, 4}, kmsg.ApiVersions: {0, 4}, kmsg.AddPartitionsToTxn: {0, 5}, kmsg.EndTxn: {0, 5}, kmsg.DescribeQuorum: {0, 2},
		},
		"4.4.0": {
			kmsg.Produce: {0, 13}, kmsg.Fetch: {4, 18}, kmsg.Metadata: {0, 13}, kmsg.FindCoordinator: {0, 6}, kmsg.DescribeCluster: {0, 2},
			kmsg.DescribeConfigs: {1, 4}, kmsg.ApiVersions: {0, 5}, kmsg.AddPartitionsToTxn: {0, 5}, kmsg.EndTxn: {0, 5}, kmsg.DescribeQuorum: {0, 2},
			kmsg.ShareFetch: {1, 2}, kmsg.ShareAcknowledge: {1, 2},
		},
	} {
		offered := 0
		for _, f := range transcript(t, transcriptOf(release)) {
			if f.request || f.key != kmsg.ApiVersions.Int16() {
				continue
			}
			resp := apiVersions(t, f)
			if resp.ErrorCode == kerr.UnsupportedVersion.Code {
				checkUnknownVersion(t, release, f, resp)
				continue
			}
			offered++
			got := make(versions)
			for _, k := range resp.ApiKeys {
				if _, ok := want[kmsg.Key(k.ApiKey)]; ok {
					got[kmsg.Key(k.ApiKey)] = [2]int16{k.MinVersion, k.MaxVersion}
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("Kafka %s, %v: got %v, want %v", release, f, got, want)
			}
		}
		if offered == 0 {
			t.Errorf("Kafka %s: no response to ApiVersions", release)
		}
	}
}

// checkUnknownVersion wants the entries that clients fall back by: the versions of
// ApiVersions itself, or nothing in releases before KIP-511.
func checkUnknownVersion(t *testing.T, release string, f frame, resp *kmsg.ApiVersionsResponse) {
	t.Helper()
	want := 1
	if release == "2.2.1" {
		want = 0
	}
	if len(resp.ApiKeys) != want {
		t.Errorf("Kafka %s, %v: got %d keys beside the error, want %d", release, f, len(resp.ApiKeys), want)
	}
}

// TestTranscriptsNameLeaders checks which responses to Produce and Fetch name a leader: of
// no release before 3.7, and in no version before the one that KIP-951 gives.
func TestTranscriptsNameLeaders(t *testing.T) {
	since := map[int16]int16{kmsg.Produce.Int16(): 10, kmsg.Fetch.Int16(): 16}
	for release, want := range map[string]bool{
		"2.2.1": false, "2.8.2": false, "3.6.2": false, "3.9.2": true, "4.0.2": true, "4.4.0": true,
	} {
		named := 0
		for _, f := range transcript(t, transcriptOf(release)) {
			first, ok := since[f.key]
			if f.request || !ok || !bytes.Contains(f.bytes, []byte(brokersDomain)) {
				continue
			}
			named++
			if f.version < first {
				t.Errorf("Kafka %s, %v names a broker", release, f)
			}
		}
		if (named > 0) != want {
			t.Errorf("Kafka %s: %d responses to Produce and Fetch name a leader, want some: %t", release, named, want)
		}
	}
}

func transcriptOf(release string) string {
	return fmt.Sprintf("testdata/transcripts/kafka-%s.txt", release)
}

// apiVersions reads a response, whose header has no tags in any version, and whose layout is
// that of v0 if the broker does not know the version.
func apiVersions(t *testing.T, f frame) *kmsg.ApiVersionsResponse {
	t.Helper()
	body := f.bytes[wire.ResponsePrefixLen:]
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = f.version
	if int16(binary.BigEndian.Uint16(body)) == kerr.UnsupportedVersion.Code {
		resp.Version = 0
	}
	if err := resp.ReadFrom(body); err != nil {
		t.Fatalf("%v: %v", f, err)
	}
	return resp
}

// TestTranscriptsLoseNothing: clients are offered every API and version of brokers up to the
// newest.
func TestTranscriptsLoseNothing(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/kafka-*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("transcripts: got %d, %v", len(files), err)
	}
	for _, file := range files {
		for _, f := range transcript(t, file) {
			if f.request || f.key != kmsg.ApiVersions.Int16() || AnswersAPIVersions(f.key, f.version) {
				continue
			}
			payload := f.bytes[wire.ResponsePrefixLen:]
			out, notes, err := new(Rewriter).Whole(f.key, f.version, payload)
			if err != nil || !bytes.Equal(out, payload) {
				t.Errorf("%s, %v: got % x, %+v, %v, want the broker's offer", file, f, out, notes, err)
			}
		}
	}
}
