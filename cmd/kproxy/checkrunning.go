package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"kproxy/internal/api"
	"kproxy/internal/connect"
	"kproxy/internal/foreign"
	"kproxy/internal/hostport"
	"kproxy/internal/live"
)

// runningState is a kproxy that runs, by its API.
type runningState struct {
	at       string // host:port of its admin server
	topology api.Topology
	config   api.Config
}

// fetch asks the admin server.
func (s *runningState) fetch(ctx context.Context, client *adminClient) error {
	s.at = client.base.Host
	if err := client.api(ctx, http.MethodGet, http.StatusOK, &s.topology, nil, "topology"); err != nil {
		return err
	}
	return client.api(ctx, http.MethodGet, http.StatusOK, &s.config, url.Values{"key": {"clusters"}}, "config")
}

// heading is the first line of a report.
func (s *runningState) heading() string {
	listeners := 0
	for _, c := range s.topology.Clusters {
		listeners += len(c.Listeners)
	}
	return fmt.Sprintf("%s: %s, generation %d: %s, %s\n\n", s.at, foreign.Line(s.config.File), s.config.Generation,
		count(len(s.topology.Clusters), "cluster"), count(listeners, "listener"))
}

// running returns the input of a check. The error says that the response is not kproxy's.
func (s *runningState) running() (*live.Running, error) {
	r := &live.Running{Parts: parts()}
	keys := s.keys()
	if len(s.topology.Clusters) == 0 {
		return nil, s.notKproxy(errors.New("it has no cluster"))
	}
	for _, c := range s.topology.Clusters {
		cluster := live.Cluster{Key: "clusters." + cleanName(c.Name), ID: c.ID, Error: c.LastError}
		if c.Up {
			cluster.Error = ""
		}
		cluster.Responded, cluster.Failed = orZero(c.LastResponse), orZero(c.LastFailed)
		if len(c.Listeners) == 0 {
			return nil, s.notKproxy(fmt.Errorf("%s has no listener", cluster.Key))
		}
		brokers := map[int32]connect.Broker{}
		for _, l := range c.Listeners {
			listener, err := listenerOf(cluster.Key, &l, keys[c.Name+"."+l.Name], brokers)
			if err != nil {
				return nil, s.notKproxy(err)
			}
			cluster.Listeners = append(cluster.Listeners, listener)
		}
		for _, node := range slices.Sorted(maps.Keys(brokers)) {
			cluster.Brokers = append(cluster.Brokers, brokers[node])
		}
		r.Clusters = append(r.Clusters, cluster)
	}
	return r, nil
}

// notKproxy is the error of a topology that no kproxy has. With nothing to try, a check would find no fault.
func (s *runningState) notKproxy(err error) error {
	return fmt.Errorf("%s: /topology: %w; see whether it is kproxy's admin server", s.at, err)
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func cleanName(name string) string { return foreign.LineOf(name, maxName) }

const maxName = 63 // characters of a cluster's name, and of a listener's: a DNS label

// listenerOf is a listener as its clients reach it. It adds its nodes' own addresses to brokers.
func listenerOf(cluster string, l *api.Listener, keys listenerSettings, brokers map[int32]connect.Broker) (live.Listener, error) {
	key := cluster + ".listeners." + cleanName(l.Name)
	of := live.Listener{
		Key: key, BootstrapKey: keys.first(key, "", "advertise", "bind"),
		NodesKey: keys.first(key, ".nodes", "nodes.sni", "nodes.advertise_addresses", "nodes.addresses", "nodes.advertise_ports", "nodes.ports"),
		Bind:     cleanAddress(l.Bind), Advertised: l.Advertised, TLS: l.TLS,
		Login:     keys.hasAny("login"),
		Refuses:   keys.hasAny("allow", "deny", "proxy_protocol", "limits"),
		Endpoints: map[int32]live.Endpoint{},
	}
	if err := advertisable(l.Advertised); err != nil {
		return of, fmt.Errorf("the advertised address of %s: %w", key, err)
	}
	for _, n := range l.Nodes {
		if err := advertisable(n.Advertised); err != nil {
			return of, fmt.Errorf("the advertised address of node %d at %s: %w", n.Node, key, err)
		}
		if n.Node < 0 {
			return of, fmt.Errorf("%s has node %d, which is no broker id", key, n.Node)
		}
		of.Endpoints[n.Node] = live.Endpoint{Bind: cleanAddress(n.Bind), Advertised: n.Advertised, Dialled: cleanAddress(n.Dialled)}
		if host, port, err := hostport.Parse(n.Broker); err == nil { // a node that is gone has none
			brokers[n.Node] = connect.Broker{Node: n.Node, Host: hostport.Canonical(host), Port: port}
		}
	}
	return of, nil
}

// advertisable returns why no kproxy advertises an address.
func advertisable(address string) error {
	host, _, err := hostport.Parse(address)
	if err == nil && host == "" {
		err = fmt.Errorf("%q has no host", address)
	}
	return err
}

func cleanAddress(address string) string { return foreign.LineOf(address, maxAddress) }

const maxAddress = 259 // characters of host:port

// listenerSettings are the keys below a listener's that the configuration has, other than by
// default: bind, nodes.ports, limits.accept_rate.
type listenerSettings map[string]bool

// keys are the settings of listeners, by CLUSTER.LISTENER. A configuration with very many keys is
// not served whole: the keys that are left out make reports less exact, and nothing else.
func (s *runningState) keys() map[string]listenerSettings {
	all := map[string]listenerSettings{}
	for _, setting := range s.config.Settings {
		path := strings.SplitN(setting.Key, ".", 5) // no name has a dot
		if len(path) < 5 || path[0] != "clusters" || path[2] != "listeners" || setting.From == api.FromDefault {
			continue
		}
		name := path[1] + "." + path[3]
		if all[name] == nil {
			all[name] = listenerSettings{}
		}
		all[name][path[4]] = true
	}
	return all
}

// first returns the first of some keys that is set, in full. If none is, it is another one.
func (s listenerSettings) first(listener, other string, keys ...string) string {
	for _, key := range keys {
		if s[key] {
			return listener + "." + key
		}
	}
	return listener + other
}

// hasAny reports whether one of some keys, or a key below it, is set.
func (s listenerSettings) hasAny(keys ...string) bool {
	for set := range s {
		for _, key := range keys {
			if set == key || strings.HasPrefix(set, key+".") {
				return true
			}
		}
	}
	return false
}
