//go:build linux

package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Get asks kproxy's admin server, from within the network, and returns the body of the
// response. Any status but 200 is an error.
func (n *Namespace) Get(ctx context.Context, address, path string) (string, error) {
	return get(ctx, n.Dial, address, path)
}

// Get asks a kproxy that is in no namespace.
func Get(ctx context.Context, address, path string) (string, error) {
	return get(ctx, (&net.Dialer{}).DialContext, address, path)
}

func get(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), address, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s\n%s", path, resp.Status, body)
	}
	return string(body), err
}

var label = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)

// Counts adds up a counter of /metrics by the values of one of its labels. Series count
// that have all labels of only.
func Counts(metrics, counter, by string, only map[string]string) (map[string]int, error) {
	counts := make(map[string]int)
series:
	for line := range strings.Lines(metrics) {
		series, ok := strings.CutPrefix(line, counter+"{")
		if !ok {
			continue
		}
		labels := make(map[string]string)
		for _, l := range label.FindAllStringSubmatch(series, -1) {
			labels[l[1]] = l[2]
		}
		for name, value := range only {
			if labels[name] != value {
				continue series
			}
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(series[strings.LastIndexByte(series, ' ')+1:]), 64)
		if err != nil {
			return nil, fmt.Errorf("/metrics: %q: %w", line, err)
		}
		counts[labels[by]] += int(n)
	}
	return counts, nil
}

// Value is the value of a metric without labels.
func Value(metrics, name string) (float64, error) {
	for line := range strings.Lines(metrics) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("/metrics has no %s", name)
}
