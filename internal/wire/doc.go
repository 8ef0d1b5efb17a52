// Package wire reads Kafka frames: sizes, request and response headers, the few request
// fields that decide whether a response follows. It also recognises connections whose
// first bytes are not Kafka.
//
//	request : size i32 | api_key i16 | api_version i16 | correlation_id i32 | client_id | [tags] | body
//	response: size i32 | correlation_id i32 | [tags] | body
//
// The size counts the bytes after it. The first twelve bytes of a request lie at
// the same place in every header version, so that a frame can be matched and
// forwarded without knowing its API.
//
// The two types to know are [RequestPrefix], which is read from every request,
// and [Reader], which takes primitives from untrusted bytes.
//
// The package knows bytes, not schemas: package rewrite knows the flexible versions of
// APIs, and passes that as a parameter. It imports the standard library only.
package wire
