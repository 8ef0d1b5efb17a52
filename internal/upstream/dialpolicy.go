package upstream

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"kproxy/internal/hostport"
)

// DialPolicy restricts the addresses that may be dialled although the configuration does
// not name them: advertised and remembered ones. Otherwise a user who can make a broker
// advertise an address could direct the proxy to any address that it can reach. The zero
// value admits all.
type DialPolicy struct {
	globs []*regexp.Regexp
}

// CompileDialPolicy makes a DialPolicy from globs on host:port, one of which has to match,
// in either case. The error is a [*RuleError] whose Rule is the glob's index.
func CompileDialPolicy(globs []string) (DialPolicy, error) {
	var a DialPolicy
	for i, glob := range globs {
		pattern, problem := compileGlob(glob)
		if problem != nil {
			problem.Rule = i
			return DialPolicy{}, problem
		}
		a.globs = append(a.globs, pattern)
	}
	return a, nil
}

func (a DialPolicy) admits(address string) bool {
	return len(a.globs) == 0 ||
		slices.ContainsFunc(a.globs, func(p *regexp.Regexp) bool { return p.MatchString(hostport.CanonicalAddress(address)) })
}

// RefusedError says that a broker's own address may not be dialled.
type RefusedError struct {
	Target  Target
	Problem string
	Fix     string
}

// Error is the target, the problem and its fix in one line.
func (e *RefusedError) Error() string { return fmt.Sprintf("%s: %s; %s", e.Target, e.Problem, e.Fix) }

func notAdmitted(t Target) error {
	return &RefusedError{
		Target:  t,
		Problem: "its address is not admitted",
		Fix:     fmt.Sprintf("if it is right, add %q to the cluster's brokers", hostport.Join(t.Host, t.Port)),
	}
}

// refused is the refusal of an address that no entry of brokers can admit.
func refused(t Target, problem string) error {
	return &RefusedError{
		Target:  t,
		Problem: problem,
		Fix:     fmt.Sprintf(`correct the broker's advertised.listeners, or add {node: %d, to: "HOST:%d"} to the cluster's dial rules`, t.Node, t.Port),
	}
}

// refuse refuses a learned address that resolves to a class without brokers. An attacker
// would name this machine's own services, or a cloud's metadata service.
func refuse(t Target, resolved netip.Addr, loopback bool) error {
	for _, a := range meant(resolved) {
		class := classOf(a, loopback)
		if class == "" {
			continue
		}
		if a.IsUnspecified() { // a rule cannot lead there
			return refused(t, fmt.Sprintf("its address leads to %s, which is %s", resolved, class))
		}
		where := resolved.String()
		if a != resolved {
			where += ", which stands for " + a.String()
		}
		return &RefusedError{
			Target:  t,
			Problem: fmt.Sprintf("its address leads to %s, which is %s", where, class),
			Fix:     fmt.Sprintf(`if the broker is there, add {node: %d, to: "%s"} to the cluster's dial rules`, t.Node, hostport.Join(resolved.String(), t.Port)),
		}
	}
	return nil
}

// classOf returns the class of an address, if it is one without brokers, or "".
func classOf(a netip.Addr, loopback bool) string {
	switch {
	case a.IsUnspecified():
		return "unspecified"
	case a.IsMulticast():
		return "multicast"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "broadcast"
	case a.IsLinkLocalUnicast():
		return "link-local"
	case slices.ContainsFunc(metadata, func(p netip.Prefix) bool { return p.Contains(a) }):
		return "a cloud's metadata service"
	case a.IsLoopback() && !loopback:
		return "loopback"
	default:
		return ""
	}
}
