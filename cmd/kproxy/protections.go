package main

import (
	"maps"
	"slices"
)

// lostProtections returns the keys that keep clients, or brokers, out before, and are absent
// after, of sections that are there before and after. A file that was cut at the end of a line
// is often valid without them. Keys that only narrow another one of their section are not
// among them.
func lostProtections(before, after *fileConfig) []string {
	var l losses
	l.admin(keyPath{}.key("admin"), &before.Admin, &after.Admin)
	for _, name := range slices.Sorted(maps.Keys(before.Clusters)) {
		was := before.Clusters[name]
		if now, ok := after.Clusters[name]; ok {
			l.cluster(keyPath{}.key("clusters").key(name), &was, &now)
		}
	}
	return l.keys
}

type losses struct{ keys []string }

func (l *losses) check(path keyPath, key string, had, has bool) {
	if had && !has {
		l.keys = append(l.keys, path.key(key).String())
	}
}

func (l *losses) list(path keyPath, key string, was, now []string) {
	l.check(path, key, len(was) > 0, len(now) > 0)
}

// refusals is list for a list whose items each refuse something.
func (l *losses) refusals(path keyPath, key string, was, now []string) {
	isLost := func(item string) bool { return !slices.Contains(now, item) }
	l.check(path, key, slices.ContainsFunc(was, isLost), false)
}

// admin compares the keys of an admin server, unless there is none after.
func (l *losses) admin(path keyPath, was, now *adminKeys) {
	if now.Bind == "" {
		return
	}
	l.check(path, "token_file", was.TokenFile != "", now.TokenFile != "")
	l.check(path, "tls", was.TLS.Cert != "", now.TLS.Cert != "")
}

func (l *losses) cluster(path keyPath, was, now *clusterKeys) {
	l.check(path, "tls", was.TLS != nil, now.TLS != nil)
	if was.TLS != nil && now.TLS != nil {
		l.check(path.key("tls"), "ca", was.TLS.CA != "", now.TLS.CA != "")
	}
	l.check(path, "sasl", was.SASL.Mechanism != "", now.SASL.Mechanism != "")
	l.list(path, "brokers", was.Brokers, now.Brokers)
	for _, name := range slices.Sorted(maps.Keys(was.Listeners)) {
		listener := was.Listeners[name]
		if next, ok := now.Listeners[name]; ok {
			l.listener(path.key("listeners").key(name), &listener, &next)
		}
	}
}

func (l *losses) listener(path keyPath, was, now *listenerKeys) {
	l.check(path, "tls", was.TLS != nil, now.TLS != nil)
	if was.TLS != nil && now.TLS != nil {
		tls := path.key("tls")
		l.check(tls, "client_ca", was.TLS.ClientCA != "", now.TLS.ClientCA != "")
		l.list(tls, "subjects", was.TLS.Subjects, now.TLS.Subjects)
	}
	l.list(path, "allow", was.Allow, now.Allow)
	l.refusals(path, "deny", was.Deny, now.Deny)
	l.check(path, "login", was.Login.proxyConfig() != nil, now.Login.proxyConfig() != nil)
	apis, limits := path.key("apis"), path.key("limits")
	l.check(apis, "preset", was.APIs.Preset != "", now.APIs.Preset != "")
	l.refusals(apis, "deny", was.APIs.Deny, now.APIs.Deny)
	l.list(path.key("proxy_protocol"), "from", was.ProxyProtocol.From, now.ProxyProtocol.From)
	l.check(limits, "max_connections", was.Limits.MaxConnections > 0, now.Limits.MaxConnections > 0)
	l.check(limits, "max_per_source", was.Limits.MaxPerSource > 0, now.Limits.MaxPerSource > 0)
	l.check(limits, "accept_rate", was.Limits.AcceptRate > 0, now.Limits.AcceptRate > 0)
}
