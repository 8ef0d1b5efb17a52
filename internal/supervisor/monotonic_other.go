//go:build !linux

package supervisor

// monotonic has no line to give: there is no systemd.
func monotonic() string { return "" }
