//go:build !unix

package main

import "os"

// notifyUpgrades delivers nothing: the system has no signal for it.
func notifyUpgrades() (upgrades <-chan os.Signal, stop func()) { return nil, func() {} }
