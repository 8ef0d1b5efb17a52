package doctor

// Fix is the advice on a failure. All fields except Text may be empty.
type Fix struct {
	Text       string   // a sentence or two
	File       string   // where Properties go: "server.properties of node 1", "client.properties"
	Properties []string // lines of that file
	Partial    bool     // entries of other listeners are missing in Properties, because they are not known
	Env        []string // the same for a broker in a container, NAME=value
	Bootstrap  string   // the new bootstrap address, if it changes
	Notes      []string // remarks on the lines: a clause each
	Command    string   // for a shell
	Docs       string   // a section of docs/listeners.md
}

// The sections of docs/listeners.md. A test holds them against the file.
const (
	docs            = "docs/listeners.md"
	docsAdvertised  = docs + "#advertised-listeners"
	docsNetworks    = docs + "#one-listener-for-each-network"
	docsLocalhost   = docs + "#localhost-and-0000"
	docsPorts       = docs + "#ports-that-are-closed-or-filtered"
	docsOwnAddress  = docs + "#each-broker-needs-its-own-address"
	docsProtocols   = docs + "#security-protocols"
	docsCerts       = docs + "#certificates"
	docsLogins      = docs + "#logins"
	docsControllers = docs + "#controllers"
	docsServices    = docs + "#other-services-at-the-port"
	docsMissing     = docs + "#a-broker-that-is-missing"
	docsNames       = docs + "#names-that-do-not-resolve"
)

var allDocs = []string{
	docsAdvertised, docsNetworks, docsLocalhost, docsPorts, docsOwnAddress, docsProtocols, docsCerts,
	docsLogins, docsControllers, docsServices, docsMissing, docsNames,
}
