package upstream

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kproxy/internal/hostport"
)

// variable is the kind of value of a pair of braces.
type variable int

const (
	variableNone variable = iota // literal text
	variableNode
	variableHost
	variablePort
	variableCapture
)

// template is the parsed To of a rule.
type template []part

// part is literal text, or a variable in its place.
type part struct {
	literal  string
	variable variable
	capture  int   // of variableCapture: 1 is the first *
	sum      bool  // variableNode or variablePort plus addend
	addend   int64 // of a sum
}

// parseTemplate parses to. captures is how many {1}, {2} … it may use.
func parseTemplate(to string, captures int) (template, *RuleError) {
	var (
		out  template
		sums int
	)
	for rest := to; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			out = append(out, part{literal: rest})
			break
		}
		if open > 0 {
			out = append(out, part{literal: rest[:open]})
		}
		inside, after, closed := strings.Cut(rest[open+1:], "}")
		if rest[open] == '}' || !closed {
			return nil, &RuleError{
				Field:   "to",
				Problem: fmt.Sprintf("%q has a brace without its pair", hostport.WithoutUser(to)),
				Fix:     "write variables as in 127.0.0.1:{19092+node}",
			}
		}
		p, ok := parseVariable(inside, captures)
		if !ok {
			return nil, &RuleError{
				Field:   "to",
				Problem: fmt.Sprintf("{%s} is no variable here", inside),
				Fix:     "use " + known(captures),
			}
		}
		if p.sum {
			sums++
		}
		out = append(out, p)
		rest = after
	}
	if sums > 1 {
		return nil, &RuleError{
			Field:   "to",
			Problem: fmt.Sprintf("%q has more than one sum", hostport.WithoutUser(to)),
			Fix:     "keep one, such as 127.0.0.1:{19092+node}",
		}
	}
	return out, nil
}

// parseVariable reads the text between two braces.
func parseVariable(inside string, captures int) (p part, ok bool) {
	if number, name, isSum := strings.Cut(inside, "+"); isSum {
		addend, err := strconv.ParseUint(number, 10, 32)
		v := named(name)
		return part{variable: v, sum: true, addend: int64(addend)}, err == nil && (v == variableNode || v == variablePort)
	}
	if v := named(inside); v != variableNone {
		return part{variable: v}, true
	}
	n, err := strconv.Atoi(inside)
	return part{variable: variableCapture, capture: n}, err == nil && 1 <= n && n <= captures
}

// named is the variable called name, or variableNone.
func named(name string) variable {
	switch name {
	case "node":
		return variableNode
	case "host":
		return variableHost
	case "port":
		return variablePort
	default:
		return variableNone
	}
}

// known lists the variables of a rule with as many captures.
func known(captures int) string {
	list := "{node}, {host}, {port}, "
	switch captures {
	case 0:
	case 1:
		list += "{1}, "
	default:
		list += fmt.Sprintf("{1} to {%d}, ", captures)
	}
	return list + "or one sum such as {19092+node}"
}

// uses reports whether some part of t is one of vs.
func (t template) uses(vs ...variable) bool {
	return slices.ContainsFunc(t, func(p part) bool { return slices.Contains(vs, p.variable) })
}

// expand returns the address that t makes for target, or an error.
func (t template) expand(target Target, captures []string) (string, error) {
	var b strings.Builder
	for _, p := range t {
		b.WriteString(p.expand(target, captures))
	}
	host, port, err := hostport.Parse(b.String())
	if err != nil {
		return "", err
	}
	if hostport.IsWildcard(host) {
		return "", &hostport.Error{
			Problem: fmt.Sprintf("%q names no host that could be dialled", hostport.WithoutUser(b.String())),
			Fix:     "write the host where the broker is reached, such as 127.0.0.1",
		}
	}
	return hostport.Join(host, port), nil
}

func (p part) expand(target Target, captures []string) string {
	switch p.variable {
	case variableNode:
		return strconv.FormatInt(p.addend+int64(target.Node), 10)
	case variablePort:
		return strconv.FormatInt(p.addend+int64(target.Port), 10)
	case variableHost:
		if host := hostport.Canonical(target.Host); strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return target.Host
	case variableCapture:
		return captures[p.capture-1]
	default:
		return p.literal
	}
}
