package auth

// AWS selects the credentials with which kproxy signs, among those that AWS's own tools
// find on this machine. The zero value selects the first ones found.
type AWS struct {
	Region  string // AWS's endpoint; "": as the environment and the profile say
	Profile string // a profile of the shared configuration; "": the default
	RoleARN string // a role to assume with the credentials found; "": none

	// SessionName is the session name of assumed roles, web identity included; "": the
	// one in the environment or the profile, or DefaultSessionName.
	SessionName string
	ExternalID  string // which the role to assume asks for; "": none
}

// DefaultSessionName is the session name where none is configured. It is part of the
// principal, which must not change when kproxy logs in again on a connection. So it is
// constant, while the SDK would make a new one each time.
const DefaultSessionName = "kproxy"

// AWSSource makes the Source of AWS_MSK_IAM. That of package awsauth asks AWS's own
// libraries; a program that does not link it has none.
type AWSSource func(conf AWS) Source
