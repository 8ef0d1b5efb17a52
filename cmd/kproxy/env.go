package main

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"kproxy/proxy/config"
)

// envPrefix is the prefix of all keys' environment variables.
const envPrefix = "KPROXY_"

// keyPath is the path of a key in the file, from the top.
type keyPath []string

// String is the path as errors name it: clusters.orders.connect_timeout.
func (p keyPath) String() string { return strings.Join(p, ".") }

// key is the path of a key below p.
func (p keyPath) key(name string) keyPath { return append(slices.Clip(p), name) }

// item is the path of an item of the list p.
func (p keyPath) item(i int) keyPath {
	last := len(p) - 1
	return append(slices.Clip(p[:last]), fmt.Sprintf("%s[%d]", p[last], i))
}

// variable is the key's environment variable: KPROXY_CLUSTERS_ORDERS_CONNECT_TIMEOUT.
func (p keyPath) variable() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(strings.Join(p, "_"), "-", "_"))
}

// serviceLink matches the variables that Kubernetes gives every container about every
// Service. A Service kproxy-log makes KPROXY_LOG_PORT, which is no mistake.
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// unknownVariables finds variables that look like a key's and are none's. Like an unknown
// key, such a setting would otherwise be ignored silently. known are the variables of all
// keys, with the clusters and listeners that there are.
func unknownVariables(environ []string, known map[string]string) []error {
	var sections []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[fileConfig]()) {
		sections = append(sections, keyPath{f.Tag.Get("key")}.variable()+"_")
	}
	var errs []error
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(entry, "=")
		ours := slices.ContainsFunc(sections, func(s string) bool { return strings.HasPrefix(name, s) })
		if _, ok := known[name]; ok || !ours || value == "" || serviceLink.MatchString(name) {
			continue
		}
		errs = append(errs, &config.Error{
			Key:     name,
			Problem: "an environment variable that is no key's",
			Fix:     suggest(name, slices.Sorted(maps.Keys(known))),
		})
	}
	return errs
}
