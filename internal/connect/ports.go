package connect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"kproxy/internal/files"
	"kproxy/internal/hostport"
	"kproxy/proxy/config"
)

// Ports are the ports of one cluster on this machine: Base for bootstrap, and Size more
// behind it for nodes. They are the same in every run, so that a client's configuration
// stays valid.
type Ports struct {
	Base int           `json:"base"`
	Size int           `json:"size"`
	Pins map[int32]int `json:"pins"` // node -> its port
}

const (
	fewNodes  = 20  // ports for nodes, at least: brokers come and go
	manyNodes = 100 // where the nodes are not known yet
	mostNodes = 10 * manyNodes
	lastPort  = 65535
)

// bases are the ports to try, the usual one first.
func bases() []int {
	all := []int{9092, 19092, 29092, 39092}
	for base := 20000; base < 60000; base += 200 {
		all = append(all, base)
	}
	return all
}

func (p Ports) last() int { return p.Base + p.Size }

// valid reports whether the values that were read can be ports.
func (p Ports) valid() bool {
	if p.Base < 1 || p.Size < 1 || p.Size > mostNodes || p.last() > lastPort {
		return false
	}
	seen := map[int]bool{}
	for node, port := range p.Pins {
		if node < 0 || port <= p.Base || port > p.last() || seen[port] {
			return false
		}
		seen[port] = true
	}
	return true
}

// overlaps says whether two clusters would share a port.
func (p Ports) overlaps(q Ports) bool { return p.Base <= q.last() && q.Base <= p.last() }

// with gives every broker a port: the one it had, or that of its id, or the highest free.
func (p Ports) with(brokers []Broker) Ports {
	pins := map[int32]int{}
	used := map[int]bool{}
	for node, port := range p.Pins {
		pins[node], used[port] = port, true
	}
	for _, b := range brokers {
		if _, has := pins[b.Node]; has {
			continue
		}
		port := p.Base + 1 + int(b.Node)
		for free := p.last(); (port > p.last() || used[port]) && free > p.Base; free-- {
			if !used[free] {
				port = free
			}
		}
		if port <= p.last() && !used[port] {
			pins[b.Node], used[port] = port, true
		}
	}
	p.Pins = pins
	return p
}

// listener is one listener with these ports.
func (p Ports) listener(name, host, advertise string) config.Listener {
	return config.Listener{
		Name:      name,
		Bind:      net.JoinHostPort(host, strconv.Itoa(p.Base)),
		Advertise: net.JoinHostPort(advertise, strconv.Itoa(p.Base)),
		Nodes:     config.Nodes{Ports: config.Range{First: p.Base + 1, Last: p.last()}, Pin: p.Pins},
	}
}

// portFile is the file of a cluster's ports: named by its id, or, if that is not known,
// by the user's addresses.
func (o *Options) portFile(c *Cluster) string {
	key := "id:" + c.ID
	if c.ID == "" {
		var addresses []string
		for _, address := range o.Addresses {
			addresses = append(addresses, hostport.CanonicalAddress(address))
		}
		slices.Sort(addresses)
		key = "at:" + strings.Join(addresses, ",")
	}
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(o.StateDir, hex.EncodeToString(sum[:12])+".json")
}

// ports chooses the cluster's ports. keep says whether they are to be remembered.
func (o *Options) ports(c *Cluster) (p Ports, keep bool, err error) {
	size := min(max(fewNodes, 2*len(c.Brokers)), mostNodes)
	if c.NeedsLogin {
		size = manyNodes
	}
	if o.Port != 0 {
		return Ports{Base: o.Port, Size: size}.with(c.Brokers), false, nil
	}
	remembered := o.readPorts()
	file := o.portFile(c)
	had, has := remembered[file]
	if has && had.Size >= size && o.free(had) {
		return had.with(c.Brokers), true, nil
	}
	delete(remembered, file)
	for _, base := range bases() {
		p := Ports{Base: base, Size: size}
		if slices.ContainsFunc(slices.Collect(maps.Values(remembered)), p.overlaps) || !o.free(p) {
			continue
		}
		if has { // another run for this cluster has them, as a rule
			o.Say("the ports that this cluster had are taken; it has others now")
		}
		return p.with(c.Brokers), !has, nil
	}
	return Ports{}, false, fmt.Errorf("no %d ports in a row are free on %s; name the first one: --port N", size+1, strings.Join(o.Listen, " and "))
}

// free reports whether no process listens on any of the ports.
func (o *Options) free(p Ports) bool {
	for _, host := range o.Listen {
		for port := p.Base; port <= p.last(); port++ {
			address := net.JoinHostPort(host, strconv.Itoa(port))
			l, err := net.Listen(hostport.Network(address), address) //nolint:noctx // an address does not wait
			if err != nil {
				return false
			}
			_ = l.Close()
		}
	}
	return true
}

// maxPorts bounds a file of ports, which has some 100 bytes.
const maxPorts = 4096

// readPorts returns the remembered ports, by file. Files that cannot be read are skipped.
func (o *Options) readPorts() map[string]Ports {
	all := map[string]Ports{}
	if o.StateDir == "" {
		return all
	}
	names, err := filepath.Glob(filepath.Join(o.StateDir, "*.json"))
	if err != nil {
		return all
	}
	for _, file := range names {
		b, err := files.Read(context.Background(), file, maxPorts)
		if err != nil {
			continue
		}
		if p, err := parsePorts(b); err == nil {
			all[file] = p
		}
	}
	return all
}

func parsePorts(b []byte) (Ports, error) {
	var p Ports
	if err := json.Unmarshal(b, &p); err != nil {
		return Ports{}, err
	}
	if !p.valid() {
		return Ports{}, fmt.Errorf("no ports: %d, %d", p.Base, p.Size)
	}
	return p, nil
}

// remember writes the ports, or returns why they will not be the same next time.
func (o *Options) remember(c *Cluster, p Ports) {
	if err := o.writePorts(o.portFile(c), p); err != nil {
		o.Say("the ports may be others in the next run: " + err.Error() + "; set XDG_STATE_HOME to a folder that can be written")
	}
}

// writePorts replaces a file in one step.
func (o *Options) writePorts(file string, p Ports) error {
	if o.StateDir == "" {
		return nil
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return err
	}
	tmp := file + "." + strconv.Itoa(os.Getpid())
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
