package config

import (
	"errors"
	"fmt"

	"kproxy/internal/errlist"
	"kproxy/internal/hostport"
	"kproxy/internal/upstream"
)

// compileDial is the cluster's dial rules, ready for use. The error joins
// *upstream.RuleErrors; Validate finds them too.
func (c *Cluster) compileDial() (upstream.Rules, error) {
	rules := make([]upstream.Rule, len(c.Dial))
	for i, rule := range c.Dial {
		rules[i] = upstream.Rule(rule)
	}
	if c.TLS != nil && c.TLS.ServerName == "" {
		return upstream.CompileShared(rules)
	}
	return upstream.Compile(rules)
}

// knownUpstream is an address that would be dialled, known before any broker
// has been asked.
type knownUpstream struct {
	key     string
	address address // after the dial rules
}

// bootstrap checks the bootstrap addresses and the dial rules that they pass
// through.
func (v *validator) bootstrap(key string, c *ClusterPlan) {
	var err error
	if c.Rules, err = c.compileDial(); err != nil {
		v.rules(key, err)
	}
	if len(c.Bootstrap) == 0 {
		v.add(key+".bootstrap", "there is no bootstrap address", "write one or more brokers, such as [broker-1:9092, broker-2:9092]")
	}
	list := key + ".bootstrap"
	for i, address := range c.Bootstrap {
		key := item(list, i)
		host, port, err := hostport.Parse(address)
		if err != nil {
			v.addErr(key, err)
			continue
		}
		if hostport.IsWildcard(host) {
			v.add(key, fmt.Sprintf("%q names no host", address), "write the broker's name or address, such as broker-1:9092")
			continue
		}
		target := upstream.Target{Node: upstream.NoNode, Host: host, Port: port, Configured: true}
		c.Targets = append(c.Targets, target)
		dialled, _, err := c.Rules.Resolve(target)
		if err != nil {
			v.add(key, err.Error(), "correct the rule, or put one for this address above it")
			continue
		}
		if c.Via.URL == "" { // else the address is another machine's
			at, err := parse(dialled)
			if err != nil {
				v.addErr(key, err)
				continue
			}
			v.upstreams = append(v.upstreams, knownUpstream{key: key, address: at})
		}
	}
}

// item is the key of an item of a list.
func item(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// rules gives the mistakes of a cluster's dial rules their place in the file.
func (v *validator) rules(key string, err error) {
	for _, err := range errlist.Of(err) {
		if bad, ok := errors.AsType[*upstream.RuleError](err); ok {
			v.add(key+"."+bad.Key(), bad.Problem, bad.Fix)
			continue
		}
		v.add(key+".dial", err.Error(), "correct the rules")
	}
}

// admission gives the mistake in one of a cluster's globs its place in the file.
func (v *validator) admission(key string, err error) {
	if bad, ok := errors.AsType[*upstream.RuleError](err); ok {
		v.add(fmt.Sprintf("%s[%d]", key, bad.Rule), bad.Problem, bad.Fix)
		return
	}
	v.add(key, err.Error(), "correct the globs")
}

// loops finds bootstrap addresses that are kproxy's own. Names are not resolved
// here; what they lead to is checked at every dial.
func (v *validator) loops() {
	for _, u := range v.upstreams {
		if own, ok := v.binds.reaches(u.address); ok {
			v.add(u.key, fmt.Sprintf("%s is kproxy's own, by %s", u.address, own.key), "write the broker's address, or bind kproxy elsewhere")
		}
	}
}
