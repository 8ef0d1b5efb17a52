// Package sandbox has tests of kproxy where a sandbox keeps parts of the system from it: seccomp
// refuses splice and pipes, or /proc and the cgroups are hidden. They need root.
package sandbox
