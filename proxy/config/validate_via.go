package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"kproxy/internal/errlist"
	"kproxy/internal/via"
)

// via checks the way through, the files that it names included.
func (v *validator) via(key string, c *ClusterPlan) {
	if c.Via.URL == "" {
		for _, f := range []struct{ key, value string }{
			{via.KeyPasswordFile, c.Via.PasswordFile},
			{via.KeyKeyFile, c.Via.KeyFile},
			{via.KeyPassphraseFile, c.Via.PassphraseFile},
			{via.KeyKnownHosts, c.Via.KnownHosts},
		} {
			if f.value != "" {
				v.add(key+"."+f.key, "there is no via that it could be for", "write via, or leave the key out")
			}
		}
		return
	}
	through, err := via.New(c.ViaConfig())
	if err == nil {
		_ = through.Close() // nothing was started
		return
	}
	for _, err := range errlist.Of(err) {
		if bad, ok := errors.AsType[*via.ConfigError](err); ok {
			v.add(key+"."+bad.Key, bad.Problem, bad.Fix)
			continue
		}
		v.add(key+"."+via.KeyVia, err.Error(), "correct it")
	}
}

// source checks the local addresses to dial from. Whether the machine has them is
// seen at each dial: addresses come and go.
func (v *validator) source(key string, c *ClusterPlan) {
	key += ".source"
	if len(c.Source) > 0 && strings.HasPrefix(c.Via.URL, "exec:") {
		v.add(key, "via is a command, which dials by itself", "leave the key out, and tell the command")
		return
	}
	list := key
	for i, s := range c.Source {
		key := item(list, i)
		ip, err := netip.ParseAddr(s)
		switch {
		case err != nil || ip.IsUnspecified() || ip.IsMulticast():
			v.add(key, fmt.Sprintf("%q is no address to dial from", s), "write addresses of this machine, such as 10.0.0.7")
		case slices.Contains(c.Sources, ip):
			v.add(key, s+" is there twice", "take it out")
		case len(c.Sources) > 0 && c.Sources[0].Is4() != ip.Is4():
			v.add(key, fmt.Sprintf("%s and %s are of two families", c.Sources[0], ip), "write IPv4 addresses, or IPv6 addresses")
		default:
			c.Sources = append(c.Sources, ip)
		}
	}
}
