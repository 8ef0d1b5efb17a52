//go:build unix

package main

import (
	"os"
	"syscall"
)

// notifyUpgrades delivers SIGUSR2 by a channel until stop is called. Otherwise it would end the
// process.
func notifyUpgrades() (upgrades <-chan os.Signal, stop func()) { return notify(syscall.SIGUSR2) }
