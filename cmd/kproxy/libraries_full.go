//go:build !small

package main

import (
	"io"
	"os"

	"google.golang.org/grpc/grpclog"
)

func silenceGRPC() {
	if os.Getenv("GRPC_GO_LOG_SEVERITY_LEVEL") == "" {
		grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	}
}
