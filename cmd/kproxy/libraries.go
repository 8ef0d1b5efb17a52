package main

import (
	"io"
	"log"
	"sync"
)

// silenceLibraries drops the lines that libraries write to stderr by themselves. They are
// neither cleaned nor bounded, and may repeat a peer: net/http prints the bytes that an
// endpoint sends behind its response, and an endpoint may send back the secret of the
// request. gRPC's lines stay where a user asks for them by gRPC's own variable.
var silenceLibraries = sync.OnceFunc(func() {
	log.SetOutput(io.Discard) //nolint:forbidigo // the libraries' logger
	silenceGRPC()
})
