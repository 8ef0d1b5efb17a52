package upstream

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"kproxy/internal/hostport"
)

// RuleError is one mistake in one rule.
type RuleError struct {
	Rule    int    // index of the rule
	Field   string // node, match or to; empty: the rule as a whole
	Problem string
	Fix     string
}

// Key is the key of the rule, or of its field, in the configuration file: dial[2].to.
func (e *RuleError) Key() string {
	key := fmt.Sprintf("dial[%d]", e.Rule)
	if e.Field != "" {
		key += "." + e.Field
	}
	return key
}

// Error is the key, the problem and its fix in one line.
func (e *RuleError) Error() string {
	return e.Key() + ": " + e.Problem + "; " + e.Fix
}

// Compile checks rules and makes them ready for use. Match is a glob: * stands
// for any run of characters, dots and nothing included, and everything else for
// itself in either case; the leftmost * is as short as the rest allows. To may
// use
//
//	{node}          the broker's id
//	{host} {port}   the broker's own address; an IPv6 host with its brackets
//	{1} {2} …       the text that the first, second … * of match stood for
//	{19092+node}    one sum, of a number and {node} or {port}
//
// The error joins one [*RuleError] for each mistake, among them those that
// would lead two brokers to one address: two rules for one node, and two nodes
// with one To.
func Compile(rules []Rule) (Rules, error) { return compileAll(rules, false) }

// CompileShared compiles rules for brokers that are selected by their own names in TLS
// (SNI): an address may then lead to several, behind a proxy that selects by name. Only
// brokers of one name have to be at different addresses.
func CompileShared(rules []Rule) (Rules, error) { return compileAll(rules, true) }

func compileAll(rules []Rule, shared bool) (Rules, error) {
	var (
		out  = Rules{shared: shared}
		errs []error
	)
	for i, rule := range rules {
		c, err := compile(rule)
		if err != nil {
			err.Rule = i
			errs = append(errs, err)
		}
		out.rules = append(out.rules, c)
	}
	if errs == nil {
		errs = out.contradictions()
	}
	if errs != nil {
		return Rules{}, errors.Join(errs...)
	}
	return out, nil
}

// compile reads one rule. It returns the concrete type because its caller sets the rule's
// index.
func compile(rule Rule) (compiled, *RuleError) {
	const forms = `write {node: 7, to: "10.0.0.7:9092"} or {match: "*.internal:9092", to: "127.0.0.1:{19092+node}"}`
	switch {
	case rule.Node == nil && rule.Match == "":
		return compiled{}, &RuleError{Problem: "neither node nor match", Fix: forms}
	case rule.Node != nil && rule.Match != "":
		return compiled{}, &RuleError{Problem: "both node and match", Fix: "keep one; " + forms}
	case rule.Node != nil && *rule.Node < 0:
		return compiled{}, &RuleError{
			Field:   "node",
			Problem: fmt.Sprintf("%d is no broker id", *rule.Node),
			Fix:     "write an id of 0 or more",
		}
	}
	to, problem := parseTemplate(rule.To, strings.Count(rule.Match, "*"))
	if problem != nil {
		return compiled{}, problem
	}
	c := compiled{node: rule.Node, to: to}
	if rule.Match != "" {
		if problem := c.compileMatch(rule.Match); problem != nil {
			return compiled{}, problem
		}
	}
	if err := c.tryOut(); err != nil {
		problem := &RuleError{Field: "to", Problem: err.Error(), Fix: "write host:port, such as 10.0.0.7:9092"}
		if bad, ok := errors.AsType[*hostport.Error](err); ok {
			problem.Problem, problem.Fix = bad.Problem, bad.Fix
		}
		return compiled{}, problem
	}
	return c, nil
}

// compileMatch turns a rule's match into its pattern.
func (c *compiled) compileMatch(match string) *RuleError {
	pattern, problem := compileGlob(match)
	if problem != nil {
		problem.Field = "match"
	}
	c.pattern = pattern
	return problem
}

// compileGlob turns a glob on canonical host:port into a regular expression: its lazy
// groups are the shortest matches that are promised, and it runs in linear time
// whatever name a broker gives itself.
func compileGlob(glob string) (*regexp.Regexp, *RuleError) {
	if !strings.Contains(glob, ":") && !strings.HasSuffix(glob, "*") {
		return nil, &RuleError{
			Problem: fmt.Sprintf("%q matches no address, because it ends before the port", hostport.WithoutUser(glob)),
			Fix:     fmt.Sprintf("write %s:9092, or %s:* for every port", glob, glob),
		}
	}
	var literals []string
	for literal := range strings.SplitSeq(hostport.CanonicalAddress(glob), "*") {
		literals = append(literals, regexp.QuoteMeta(literal))
	}
	pattern, err := regexp.Compile(`(?is)\A` + strings.Join(literals, `(.*?)`) + `\z`)
	if err != nil {
		return nil, &RuleError{
			Problem: fmt.Sprintf("%q is not usable: %v", hostport.WithoutUser(glob), err),
			Fix:     `write a host:port in which * stands for any text, such as "*.internal:9092"`,
		}
	}
	return pattern, nil
}

// tryOut expands To for made-up brokers, and fails if no result is valid, so that a To
// that can never work is found before the first broker is dialled. The text of a * cannot
// be made up.
func (c *compiled) tryOut() error {
	if c.to.uses(variableCapture) {
		return nil
	}
	if c.node != nil {
		address, err := c.to.expand(Target{Node: *c.node, Host: "host", Port: 1}, nil)
		if !c.to.uses(variableHost, variablePort) {
			c.fixed = address
		}
		return err
	}
	// {node} alone as a port is valid for node 1, {65535+node} is valid for node 0.
	if _, err := c.to.expand(Target{Node: 1, Host: "host", Port: 1}, nil); err == nil {
		return nil
	}
	_, err := c.to.expand(Target{Node: 0, Host: "host", Port: 1}, nil)
	return err
}

// contradictions finds rules for single nodes that contradict each other. Rules
// whose To needs more than the node, and those for one address that is shared,
// are judged when the brokers are known, by Rules.Conflicts.
func (r Rules) contradictions() []error {
	var errs []error
	nodes := make(map[int32]int)      // node -> its rule
	addresses := make(map[string]int) // where it leads -> the rule
	for i, c := range r.rules {
		if c.node == nil {
			continue
		}
		if first, ok := nodes[*c.node]; ok {
			errs = append(errs, &RuleError{
				Rule: i, Field: "node",
				Problem: fmt.Sprintf("node %d has a rule already, dial[%d]", *c.node, first),
				Fix:     "remove one of them",
			})
			continue
		}
		nodes[*c.node] = i
		if c.fixed == "" || r.shared {
			continue
		}
		address := hostport.CanonicalAddress(c.fixed)
		if first, ok := addresses[address]; ok {
			errs = append(errs, &RuleError{
				Rule: i, Field: "to",
				Problem: fmt.Sprintf("node %d would be dialled at %s, and so is node %d by dial[%d]", *c.node, c.fixed, *r.rules[first].node, first),
				Fix:     "give each broker an address of its own",
			})
			continue
		}
		addresses[address] = i
	}
	return errs
}
