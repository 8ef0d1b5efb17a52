// Package contract is the common part of the client programs of the compatibility matrix:
// its flags, its one JSON object, its exit codes, and the works that are the same for
// each library once it can send a record and read one.
//
// A command fills in a [Client] and calls [Main]. The contract itself, which
// the programs in other languages keep too, is stated in ../../../README.md.
package contract
