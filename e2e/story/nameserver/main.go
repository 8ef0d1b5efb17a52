//go:build linux

// Nameserver has the names of podman's containers, in place of aardvark-dns. The aardvark-dns of Debian 12 closes
// its sockets when a container starts or ends, and then may not respond until another one does. This one reads the
// files of netavark at each query. A container gets the names of all its networks, whichever of them it asks in.
//
//	nameserver --config DIR -p PORT run
//
// DIR has a file for each network. Its first line has the addresses to listen at; each further line has a container:
// id, IPv4 addresses, IPv6 addresses, names. DIR/aardvark.pid is the process to which netavark sends SIGHUP after a change.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// background is set in the process that stays when netavark's command has ended.
const background = "NAMESERVER_BACKGROUND"

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "nameserver:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// patience is how many seconds it stays without a network.
const patience = 5

func run(args []string) error {
	if len(args) != 6 || args[1] != "--config" || args[3] != "-p" || args[5] != "run" {
		return fmt.Errorf("want --config DIR -p PORT run, got %q", args[1:])
	}
	s := &server{dir: args[2], port: args[4], sockets: make(map[string]net.PacketConn)}
	if os.Getenv(background) == "" {
		cmd := exec.CommandContext(context.Background(), "/proc/self/exe", args[1:]...)
		cmd.Env = append(os.Environ(), background+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(s.dir, "aardvark.pid"), fmt.Append(nil, cmd.Process.Pid), 0o600)
	}
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGHUP)
	// netavark may be writing the only file.
	for left := patience; left > 0; left-- {
		more, err := s.listen()
		if err != nil {
			return err
		}
		if more {
			left = patience
		}
		select {
		case <-changes:
		case <-time.After(time.Second):
		}
	}
	return nil
}

// server has a socket for each network's address.
type server struct {
	dir, port string
	sockets   map[string]net.PacketConn
}

// network is one of podman's.
type network struct {
	listen     []string
	hosts      map[string][]netip.Addr // by name
	containers map[string]bool         // by id
	at         map[netip.Addr]string   // the id of the container with an address
}

// networks reads the files.
func (s *server) networks() ([]network, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var all []network
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(s.dir, entry.Name()))
		if entry.Name() == "aardvark.pid" || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		first, rest, _ := strings.Cut(string(text), "\n")
		if first == "" {
			continue // it is being written
		}
		first, _, _ = strings.Cut(first, " ")
		n := network{listen: strings.Split(first, ","), hosts: make(map[string][]netip.Addr), containers: make(map[string]bool), at: make(map[netip.Addr]string)}
		for line := range strings.Lines(rest) {
			fields := strings.Split(strings.TrimSpace(line), " ")
			if len(fields) < 4 {
				continue
			}
			n.containers[fields[0]] = true
			for address := range strings.SplitSeq(fields[1]+","+fields[2], ",") {
				ip, err := netip.ParseAddr(address)
				if err != nil {
					continue
				}
				n.at[ip] = fields[0]
				for name := range strings.SplitSeq(fields[3], ",") {
					n.hosts[strings.ToLower(name)] = append(n.hosts[strings.ToLower(name)], ip)
				}
			}
		}
		all = append(all, n)
	}
	return all, nil
}

// listen opens the sockets of new networks. It reports whether there is a network.
func (s *server) listen() (bool, error) {
	networks, err := s.networks()
	for _, n := range networks {
		for _, address := range n.listen {
			if s.sockets[address] != nil {
				continue
			}
			conn, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", net.JoinHostPort(address, s.port))
			if err != nil {
				continue // the bridge is not there yet, or not any more
			}
			s.sockets[address] = conn
			go s.serve(conn)
		}
	}
	return len(networks) > 0, err
}

// serve responds until the process ends.
func (s *server) serve(conn net.PacketConn) {
	buffer := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		if response := s.respond(buffer[:n], from); response != nil {
			_, _ = conn.WriteTo(response, from)
		}
	}
}

// respond returns the response to a query of a container: the addresses of the containers in its networks.
func (s *server) respond(query []byte, from net.Addr) []byte {
	var m dnsmessage.Message
	networks, err := s.networks()
	asker, err2 := netip.ParseAddrPort(from.String())
	if m.Unpack(query) != nil || errors.Join(err, err2) != nil || len(m.Questions) != 1 {
		return nil
	}
	var id string
	for _, n := range networks {
		if found, ok := n.at[asker.Addr()]; ok {
			id = found
		}
	}
	q := m.Questions[0]
	m = dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: m.RecursionDesired, RecursionAvailable: true, RCode: dnsmessage.RCodeNameError},
		Questions: m.Questions,
	}
	name := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(q.Name.String()), "."), ".dns.podman")
	for _, n := range networks {
		if !n.containers[id] {
			continue
		}
		for _, ip := range n.hosts[name] {
			m.RCode = dnsmessage.RCodeSuccess
			header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
			switch {
			case q.Type == dnsmessage.TypeA && ip.Is4():
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: ip.As4()}})
			case q.Type == dnsmessage.TypeAAAA && ip.Is6():
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}})
			}
		}
	}
	response, err := m.Pack()
	if err != nil {
		return nil
	}
	return response
}
