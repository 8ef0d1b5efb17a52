package proxy

import (
	"errors"

	"kproxy/internal/hostport"
	"kproxy/proxy/config"
)

// sniTable says which endpoint a server name (SNI) stands for, of the listeners
// that share an address. It does not change.
type sniTable struct {
	bootstrap map[string]*endpoint // by canonical host
	nodes     []member
	otherwise *endpoint // where all other names, and none, lead; nil: nowhere
}

// errUnknownName is logged with the name.
var errUnknownName = errors.New("no listener at this address has it")

// newSNITable lists the names of listeners.
func newSNITable(listeners []member) *sniTable {
	d := &sniTable{bootstrap: map[string]*endpoint{}, nodes: listeners}
	for _, m := range listeners {
		e := &endpoint{listener: m.listener, slot: bootstrapSlot, conf: m.conf}
		host, _ := m.conf.AdvertisedBootstrap()
		d.bootstrap[host] = e
		if m.conf.UnknownSNI == config.SNIBootstrap {
			d.otherwise = e
		}
	}
	return d
}

// find returns the endpoint that a client asks for. That a name has the form of a
// node's does not make a node of it: the endpoint may be that of a node which is
// not known.
func (d *sniTable) find(name string) (*endpoint, error) {
	name = hostport.Canonical(name)
	if e, ok := d.bootstrap[name]; ok {
		return e, nil
	}
	for _, m := range d.nodes {
		if node, ok := m.conf.Names.Find(name); ok {
			return &endpoint{listener: m.listener, slot: int(node), conf: m.conf}, nil
		}
	}
	if d.otherwise != nil {
		return d.otherwise, nil
	}
	return nil, errUnknownName
}
