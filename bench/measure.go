//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// userHZ is the unit of the times in /proc: 100 on every architecture that Go
// runs on.
const userHZ = 100

// procStat has the fields of /proc/PID/stat.
type procStat struct {
	pid, parent int
	cpu         time.Duration // its own, and that of children it has waited for
	rss         int64         // bytes
}

// parseProcStat reads a line of /proc/PID/stat. The name in it may hold anything,
// also blanks and brackets.
func parseProcStat(line string) (procStat, error) {
	// Behind the name, counted from the state, which proc(5) calls field 3.
	const state, ppid, utime, cstime, rss = 3, 4, 14, 17, 24
	name := strings.LastIndexByte(line, ')')
	before, _, _ := strings.Cut(line, " ")
	pid, err := strconv.Atoi(before)
	fields := strings.Fields(line[name+1:])
	if err != nil || name < 0 || len(fields) <= rss-state {
		return procStat{}, fmt.Errorf("not a line of /proc/PID/stat: %q", line)
	}
	number := func(field int) (n int64) {
		n, e := strconv.ParseInt(fields[field-state], 10, 64)
		err = errors.Join(err, e)
		return n
	}
	s := procStat{pid: pid, parent: int(number(ppid)), rss: number(rss) * int64(os.Getpagesize())}
	for field := utime; field <= cstime; field++ {
		s.cpu += time.Duration(number(field)) * (time.Second / userHZ)
	}
	return s, err
}

// allProcesses is every process of the machine, by pid.
func allProcesses() (map[int]procStat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := make(map[int]procStat, len(files))
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if s, err := parseProcStat(string(line)); err == nil {
			all[s.pid] = s
		}
	}
	return all, nil
}

// tree is the processes with these pids, and all that descend from them.
func tree(all map[int]procStat, roots ...int) []procStat {
	var found []procStat
	for pid, s := range all {
		for up := pid; up > 1; up = all[up].parent {
			if slices.Contains(roots, up) {
				found = append(found, s)
				break
			}
		}
	}
	return found
}

// sample is a measurement of one moment.
type sample struct {
	cpu, rss int64         // of the target's processes: nanoseconds, bytes
	alive    bool          // it has any
	cgroup   int64         // bytes, the kernel's included; -1: there is none
	machine  time.Duration // CPU of all processes
	ours     time.Duration // CPU of the target, the load and the broker
	sockets  int64         // bytes in the buffers of TCP sockets, of the whole machine
	slab     int64         // bytes of the kernel's own objects, of the whole machine
}

// takeSample looks at a target's processes, and at those of the suite beside it.
func takeSample(target []int, others []int, group *cgroup) (sample, error) {
	all, err := allProcesses()
	if err != nil {
		return sample{}, err
	}
	s := sample{cgroup: group.usage()}
	for _, p := range tree(all, target...) {
		s.cpu += int64(p.cpu)
		s.rss += p.rss
		s.alive = true
	}
	s.ours = time.Duration(s.cpu)
	for _, p := range tree(all, others...) {
		s.ours += p.cpu
	}
	if s.machine, err = machineCPU(); err != nil {
		return sample{}, err
	}
	s.sockets, s.slab = kernelMemory()
	return s, nil
}

// machineCPU is the work of all processors, interrupts included.
func machineCPU() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseMachineCPU(string(b))
}

func parseMachineCPU(stat string) (time.Duration, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	// user nice system idle iowait irq softirq; guest is part of user.
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("not /proc/stat: %q", line)
	}
	var sum int64
	for _, i := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * (time.Second / userHZ), nil
}

// kernelMemory is 0 where it cannot be read. A namespace's sockets are counted in
// the whole machine's memory too: the kernel keeps that for each protocol.
func kernelMemory() (sockets, slab int64) {
	b, _ := os.ReadFile("/proc/net/sockstat")
	for line := range bytes.Lines(b) {
		fields := strings.Fields(string(line))
		if len(fields) > 2 && fields[0] == "TCP:" && fields[len(fields)-2] == "mem" {
			pages, _ := strconv.ParseInt(fields[len(fields)-1], 10, 64)
			sockets = pages * int64(os.Getpagesize())
		}
	}
	b, _ = os.ReadFile("/proc/meminfo")
	for line := range bytes.Lines(b) {
		if fields := strings.Fields(string(line)); len(fields) == 3 && fields[0] == "Slab:" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			slab = n * kib
		}
	}
	return sockets, slab
}
