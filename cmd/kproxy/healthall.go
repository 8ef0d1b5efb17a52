package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"kproxy/internal/foreign"
)

// maxReplicas bounds the addresses that a name may have, and so the requests of health --all.
const maxReplicas = 1000

// tryAll asks every address that the name of --admin has now, as a headless Service of Kubernetes has one
// for each pod that is ready. Each line of the error names the address.
func (h *health) tryAll(ctx context.Context, f *healthFlags) (ready string, final bool, err error) {
	host := h.url.Hostname()
	lookup := f.lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	all, err := lookup(ctx, "ip", host)
	if err != nil {
		return "", false, fmt.Errorf("--admin: no address of %s is known: %s; see whether a replica is ready, and write a name that has the address of each", host, foreign.Line(err.Error()))
	}
	for i := range all {
		all[i] = all[i].Unmap()
	}
	slices.SortFunc(all, netip.Addr.Compare)
	if all = slices.Compact(all); len(all) > maxReplicas {
		return "", true, fmt.Errorf("--admin: %s has %d addresses, and %d are the most; ask them without --all", host, len(all), maxReplicas)
	}
	errs := make([]error, len(all))
	finals := make([]bool, len(all))
	var asking sync.WaitGroup
	for i, address := range all {
		asking.Go(func() {
			_, finals[i], errs[i] = h.at(address).try(ctx, f)
		})
	}
	asking.Wait()
	var lines []error
	for i, err := range errs {
		if err == nil {
			continue
		}
		final = final || finals[i]
		for line := range strings.SplitSeq(err.Error(), "\n") {
			lines = append(lines, fmt.Errorf("%s: %s", all[i], line))
		}
	}
	if len(lines) > maxReasons {
		lines = append(lines[:maxReasons], fmt.Errorf("%d more lines", len(lines)-maxReasons))
	}
	return fmt.Sprintf("ready: %d of %d", len(all), len(all)), final, errors.Join(lines...)
}

// at asks the same server at one of its addresses. Its certificate must be for the name.
func (h *health) at(address netip.Addr) *health {
	transport := h.client.Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(to)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(address.String(), port))
	}
	client, one, there := *h.client, *h.adminClient, *h
	client.Transport = transport
	one.client = &client
	there.adminClient = &one
	return &there
}
