package upstream

import (
	"net/netip"
	"strings"
)

// prefix4 are prefixes behind which an IPv6 address has an IPv4 address, which is
// where a packet really goes, and its offset in bytes.
var prefix4 = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("::/96"), 12},           // IPv4-compatible (RFC 4291, 2.5.5.1)
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // IPv4-translated (RFC 2765)
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64 (RFC 6052)
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4 (RFC 3056)
	{netip.MustParsePrefix("2001::/32"), 4},        // Teredo (RFC 4380): the server
}

var (
	teredo     = netip.MustParsePrefix("2001::/32")
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
)

// meant returns an address without IPv4-in-IPv6 (RFC 4291, 2.5.5.2) and zone, and with it
// each IPv4 address that it has inside. A translator or a tunnel sends packets to the
// inner one.
func meant(a netip.Addr) []netip.Addr {
	a = a.Unmap().WithZone("")
	all := []netip.Addr{a}
	if a.Is4() || a.IsUnspecified() || a.IsLoopback() {
		return all
	}
	b := a.As16()
	take := func(at ...int) {
		v4 := netip.AddrFrom4([4]byte{b[at[0]], b[at[1]], b[at[2]], b[at[3]]})
		all = append(all, v4)
	}
	for _, p := range prefix4 {
		if p.prefix.Contains(a) {
			take(p.at, p.at+1, p.at+2, p.at+3)
		}
	}
	if teredo.Contains(a) { // the client, with its bits turned over
		all = append(all, netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	}
	if b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe { // ISATAP (RFC 5214)
		take(12, 13, 14, 15)
	}
	if localNAT64.Contains(a) {
		// The owner of the prefix chooses one of the lengths of RFC 6052, 2.2. Read with
		// a wrong length, most addresses are 0.0.0.0.
		for _, at := range [][]int{{6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}, {12, 13, 14, 15}} {
			if take(at...); all[len(all)-1].IsUnspecified() {
				all = all[:len(all)-1]
			}
		}
	}
	return all
}

// metadata are the metadata services of clouds that are not link-local.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("fd00:ec2::/32"),      // AWS
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google Cloud
	netip.MustParsePrefix("fd00:42::42/128"),    // Scaleway
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle Cloud
}

// farNames are names that resolve to an address of a refused class everywhere.
var farNames = names(map[string]string{
	// RFC 6761, 6.3, and the hosts files of systems.
	"127.0.0.1": "localhost localhost.localdomain localhost4 localhost4.localdomain4 loopback",
	"::1":       "localhost6 localhost6.localdomain6 ip6-localhost ip6-loopback",

	"255.255.255.255": "broadcasthost",
	"ff00::":          "ip6-mcastprefix",
	"ff02::1":         "ip6-allnodes",
	"ff02::2":         "ip6-allrouters",
	"fe80::":          "ip6-localnet", // it is fe00::, which is of no class, and no broker's

	"169.254.169.254": "instance-data instance-data.ec2.internal metadata metadata.goog metadata.google.internal",
})

// names returns the names in all, which are separated by blanks, by address.
func names(all map[string]string) map[string]netip.Addr {
	by := map[string]netip.Addr{}
	for address, names := range all {
		for name := range strings.FieldsSeq(names) {
			by[name] = netip.MustParseAddr(address)
		}
	}
	return by
}
