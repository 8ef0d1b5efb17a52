package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"kproxy/internal/foreign"
)

// maxReplicas bounds the addresses that a name may have, and so the requests of health --all.
const maxReplicas = 1000

// askAll asks every address that the name of --admin has, as a headless Service of Kubernetes has one
// for each pod that is ready. The reasons and errors name the address. n counts the addresses.
func (f *healthFlags) askAll(ctx context.Context, h *health) (n int, reasons []string, err error) {
	host := h.url.Hostname()
	lookup := f.lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	all, err := lookup(ctx, "ip", host)
	if err != nil {
		return 0, nil, fmt.Errorf("--admin: no address of %s is known: %s; see whether a replica is ready, and write a name that has the address of each", host, foreign.Line(err.Error()))
	}
	for i := range all {
		all[i] = all[i].Unmap()
	}
	slices.SortFunc(all, netip.Addr.Compare)
	if all = slices.Compact(all); len(all) > maxReplicas {
		return 0, nil, fmt.Errorf("--admin: %s has %d addresses, and %d are the most; ask them without --all", host, len(all), maxReplicas)
	}
	found := make([][]string, len(all))
	errs := make([]error, len(all))
	var asking sync.WaitGroup
	for i, address := range all {
		asking.Go(func() {
			if found[i], errs[i] = h.at(address).ask(ctx, f); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", address, errs[i])
			}
		})
	}
	asking.Wait()
	for i, address := range all {
		for _, reason := range found[i] {
			reasons = append(reasons, address.String()+": "+reason)
		}
	}
	return len(all), reasons, errors.Join(errs...)
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
