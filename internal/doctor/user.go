package doctor

import (
	"regexp"
	"strings"

	"kproxy/internal/foreign"
	"kproxy/proxy/config"
)

// User has the user's options that fixes depend on.
type User struct {
	Addresses []string // for bootstrap
	TLS       *config.UpstreamTLS
	SASL      *config.SASL
	Via       string // the machine that addresses are reached from, for a screen; "": this one

	// Args are the arguments and flags of the command line, without the name of the
	// program and of the command.
	Args []string

	// File is the client's file that addresses, TLS and login were read from; "": they
	// come from flags. Librdkafka says that its keys are librdkafka's, and not Java's.
	File       string
	Librdkafka bool

	// Mechanism is the file's own key for a mechanism, and Store the file of authorities that
	// it names, if any.
	Mechanism, Store string

	// Trusted names the trusted authorities: a file and its subjects. "": the system's.
	Trusted string
}

// key is the client's own key for a thing, or the flag.
func (u *User) key(flag, java, librdkafka string) string {
	switch {
	case u.File == "":
		return flag
	case u.Librdkafka:
		return librdkafka
	default:
		return java
	}
}

// Protocol is the security protocol that the user's client speaks.
func (u *User) Protocol() string {
	switch {
	case u.TLS != nil && u.SASL != nil:
		return "SASL_SSL"
	case u.TLS != nil:
		return "SSL"
	case u.SASL != nil:
		return "SASL_PLAINTEXT"
	default:
		return "PLAINTEXT"
	}
}

// Line is the command line of a command of kproxy's with the user's own arguments and more,
// quoted for a POSIX shell.
func (u *User) Line(command string, more ...string) string {
	words := append([]string{"kproxy", command}, u.Args...)
	words = append(words, more...)
	for i, word := range words {
		words[i] = Quote(word)
	}
	return strings.Join(words, " ")
}

// value is the value of a flag in the user's arguments; "": it is not there.
func (u *User) value(flag string) string {
	for i, arg := range u.Args {
		if value, ok := strings.CutPrefix(arg, flag+"="); ok {
			return foreign.Line(value)
		}
		if arg == flag && i+1 < len(u.Args) {
			return foreign.Line(u.Args[i+1])
		}
	}
	return ""
}

// plainWord matches a word that needs no quotes in any POSIX shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+=:,./-]*$`)

// Quote writes a word for a POSIX shell.
func Quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
