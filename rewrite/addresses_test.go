package rewrite

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// field is a field of a response: the API's key, and the path of names.
type field struct {
	key  int16
	path string
}

// rewritten are the fields that look like an address and are rewritten.
var rewritten = map[field]bool{
	{0, "Brokers.Host"}:          true,
	{0, "Brokers.Port"}:          true,
	{1, "Brokers.Host"}:          true,
	{1, "Brokers.Port"}:          true,
	{3, "Brokers.Host"}:          true,
	{3, "Brokers.Port"}:          true,
	{10, "Host"}:                 true, // v0-3
	{10, "Port"}:                 true,
	{10, "Coordinators.Host"}:    true, // v4+
	{10, "Coordinators.Port"}:    true,
	{55, "Nodes.Listeners"}:      true, // taken out
	{55, "Nodes.Listeners.Host"}: true,
	{55, "Nodes.Listeners.Port"}: true,
	{60, "Brokers.Host"}:         true,
	{60, "Brokers.Port"}:         true,
	{78, "NodeEndpoints"}:        true,
	{78, "NodeEndpoints.Host"}:   true,
	{78, "NodeEndpoints.Port"}:   true,
	{79, "NodeEndpoints"}:        true,
	{79, "NodeEndpoints.Host"}:   true,
	{79, "NodeEndpoints.Port"}:   true,
}

const (
	kraft   = "a KRaft controller's, which no broker's listener returns"
	member  = "where a member of the group connects from"
	streams = "application.server of a Streams application (KIP-1071)"
	acl     = "the pattern of an access rule"
	notAny  = "describes a value, and holds no address"
)

// leftAlone are the fields that look like an address and stay, with the reason.
var leftAlone = map[field]string{
	{15, "Groups.Members.ClientHost"}:                  member,
	{29, "Resources.ACLs.Host"}:                        acl,
	{31, "Results.MatchingACLs.Host"}:                  acl,
	{52, "NodeEndpoints"}:                              kraft,
	{52, "NodeEndpoints.Host"}:                         kraft,
	{52, "NodeEndpoints.Port"}:                         kraft,
	{53, "NodeEndpoints"}:                              kraft,
	{53, "NodeEndpoints.Host"}:                         kraft,
	{53, "NodeEndpoints.Port"}:                         kraft,
	{54, "NodeEndpoints"}:                              kraft,
	{54, "NodeEndpoints.Host"}:                         kraft,
	{54, "NodeEndpoints.Port"}:                         kraft,
	{59, "NodeEndpoints"}:                              kraft,
	{59, "NodeEndpoints.Host"}:                         kraft,
	{59, "NodeEndpoints.Port"}:                         kraft,
	{60, "EndpointType"}:                               notAny,
	{69, "Groups.Members.ClientHost"}:                  member,
	{77, "Groups.Members.ClientHost"}:                  member,
	{82, "CurrentLeader.Host"}:                         kraft,
	{82, "CurrentLeader.Port"}:                         kraft,
	{88, "EndpointInformationEpoch"}:                   notAny,
	{88, "PartitionsByUserEndpoint"}:                   streams,
	{88, "PartitionsByUserEndpoint.UserEndpoint"}:      streams,
	{88, "PartitionsByUserEndpoint.UserEndpoint.Host"}: streams,
	{88, "PartitionsByUserEndpoint.UserEndpoint.Port"}: streams,
	{89, "Groups.Members.ClientHost"}:                  member,
	{89, "Groups.Members.UserEndpoint"}:                streams,
	{89, "Groups.Members.UserEndpoint.Host"}:           streams,
	{89, "Groups.Members.UserEndpoint.Port"}:           streams,
}

// looksLikeAddress matches the names that Kafka's schemas give to addresses.
// They begin in upper case, so that SupportedFeatures does not match port.
var looksLikeAddress = regexp.MustCompile(`Host|Port|Endpoint|Listener|Address|Url|URL|Uri|URI`)

// addressFields walks kmsg's type of one response.
func addressFields(key int16) map[field]bool {
	found := map[field]bool{}
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer || t.Kind() == reflect.Array {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || t == reflect.TypeFor[kmsg.Tags]() {
			return
		}
		for f := range t.Fields() {
			if looksLikeAddress.MatchString(f.Name) {
				found[field{key, path + f.Name}] = true
			}
			walk(f.Type, path+f.Name+".")
		}
	}
	if resp := kmsg.ResponseForKey(key); resp != nil {
		walk(reflect.TypeOf(resp), "")
	}
	return found
}

// Every field of a response that looks like an address is rewritten, or stays for
// a reason. A new release of kmsg that brings one fails here.
func TestEveryAddressIsRewrittenOrLeftAlone(t *testing.T) {
	found := map[field]bool{}
	for key := range int16(kmsg.MaxKey + 1) {
		for f := range addressFields(key) {
			found[f] = true
			if !rewritten[f] && leftAlone[f] == "" {
				t.Errorf("%s (key %d) has a field %s: if clients dial it, rewrite it and say so in doc.go and in rewritten; "+
					"if not, give the reason in doc.go and in leftAlone", kmsg.NameForKey(f.key), f.key, f.path)
			}
		}
	}
	for f := range rewritten {
		if !found[f] {
			t.Errorf("%s (key %d) has no field %s any more: take it out of rewritten", kmsg.NameForKey(f.key), f.key, f.path)
		}
		if leftAlone[f] != "" {
			t.Errorf("%s %s is in both tables", kmsg.NameForKey(f.key), f.path)
		}
	}
	for f := range leftAlone {
		if !found[f] {
			t.Errorf("%s (key %d) has no field %s any more: take it out of leftAlone", kmsg.NameForKey(f.key), f.key, f.path)
		}
	}
}

// docTables reads the rows of the package comment by heading: key, name, and the rest of
// the row.
func docTables(t *testing.T) map[string]map[int16][]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`^\t\s*(\d+) (\w+)\s+(\S.*)$`)
	tables := map[string]map[int16][]string{}
	heading, last := "", []string(nil)
	for line := range strings.Lines(f.Doc.Text()) {
		line = strings.TrimSuffix(line, "\n")
		if after, ok := strings.CutPrefix(line, "# "); ok {
			heading = after
			tables[heading] = map[int16][]string{}
		}
		switch m := row.FindStringSubmatch(line); {
		case m != nil && heading != "":
			key, err := strconv.ParseInt(m[1], 10, 16)
			if err != nil {
				t.Fatal(err)
			}
			last = []string{m[2], m[3]}
			tables[heading][int16(key)] = last
		case last != nil && strings.HasPrefix(line, "\t"): // a row goes on
			last[1] += " " + strings.TrimSpace(line)
		}
	}
	return tables
}

// The tables of the package comment agree with the code.
func TestDocNamesEveryAnswer(t *testing.T) {
	tables := docTables(t)
	rewrites, stays := tables["Which responses carry a broker's address"], tables["Which fields look like an address and stay"]
	for _, api := range Supported() {
		row := rewrites[api.Key]
		if row == nil {
			t.Errorf("doc.go lists no %s (key %d) among the responses that change", api.Name, api.Key)
			continue
		}
		for i, treatment := range []string{Head: "Head", Whole: "Whole", Walk: "Walk", Settings: "Settings"} {
			is := TreatmentOf(api.Key, api.MaxVersion) == Treatment(i)
			if says := treatment != "" && strings.Contains(row[1], treatment); is != says {
				t.Errorf("doc.go says of %s: %q; %q is its treatment: %t", api.Name, row[1], treatment, is)
			}
		}
	}
	for f := range rewritten {
		if rewrites[f.key] == nil {
			t.Errorf("doc.go does not say that %s (key %d) is rewritten", kmsg.NameForKey(f.key), f.key)
		}
	}
	for f := range leftAlone {
		if rewrites[f.key] == nil && stays[f.key] == nil {
			t.Errorf("doc.go does not say why %s of %s (key %d) stays", f.path, kmsg.NameForKey(f.key), f.key)
		}
	}
	for heading, table := range tables {
		for key, row := range table {
			checkDocRow(t, heading, key, row[0])
		}
	}
}

// checkDocRow fails for a row that no table of the tests needs, or that gives
// the key another name than Kafka does.
func checkDocRow(t *testing.T, heading string, key int16, name string) {
	t.Helper()
	if want := kmsg.NameForKey(key); !strings.EqualFold(name, want) {
		t.Errorf("doc.go, %q: key %d is %s, not %s", heading, key, want, name)
	}
	_, used := MaxVersion(key)
	for f := range leftAlone {
		used = used || f.key == key
	}
	if !used {
		t.Errorf("doc.go, %q: nothing is rewritten or left alone in %s (key %d)", heading, name, key)
	}
}

// No broker's name passes, whatever else happens to a response.
func TestNoAddressPasses(t *testing.T) {
	g := newGenerator(7)
	r := telling("proxy.example")
	for _, api := range Supported() {
		if api.Key == kmsg.ApiVersions.Int16() {
			continue
		}
		for version := range api.MaxVersion + 1 {
			for range 10 {
				payload := encode(g.response(api.Key, version), headerTags)
				for _, fixed := range []bool{false, true} {
					name := fmt.Sprintf("%s v%d, fixed %t", api.Name, version, fixed)
					_, after, found := bytes.Cut(rewriteAll(t, r, api.Key, version, payload, fixed), []byte(leaked))
					if found {
						t.Fatalf("%s: %s%q", name, leaked, head(after))
					}
				}
			}
		}
	}
}

// rewriteAll rewrites a payload by its treatment.
func rewriteAll(tb testing.TB, r *Rewriter, key, version int16, payload []byte, fixed bool) []byte {
	tb.Helper()
	switch TreatmentOf(key, version) {
	case Head:
		out, n, _, err := r.Head(key, version, payload)
		if err != nil {
			tb.Fatal(err)
		}
		return append(bytes.Clone(out), payload[n:]...)
	case Whole:
		out, _, err := r.Whole(key, version, payload)
		if err != nil {
			tb.Fatal(err)
		}
		return out
	case Settings:
		return configsOf(tb, version, payload, fixed, len(payload))
	case Walk:
		at, err := walk(tb, key, version, payload, len(payload), everything)
		if err != nil {
			tb.Fatal(err)
		}
		out, _, err := r.Tail(key, version, payload[at:], fixed)
		if err != nil {
			tb.Fatal(err)
		}
		return append(bytes.Clone(payload[:at]), out...)
	default:
		return payload
	}
}
