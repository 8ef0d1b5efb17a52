package viatest

import (
	"os"
	"os/signal"
	"syscall"
)

var stdin, stdout, stderr = os.Stdin, os.Stdout, os.Stderr

type stdio struct{}

func (stdio) Read(p []byte) (int, error)  { return stdin.Read(p) }
func (stdio) Write(p []byte) (int, error) { return stdout.Write(p) }

func ignoreSignals() { signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT) }
