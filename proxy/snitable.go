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
	nodes     []*listener
	otherwise *endpoint // where all other names, and none, lead; nil: nowhere
}

// errUnknownName is logged with the name.
var errUnknownName = errors.New("no listener at this address has it")

// newSNITable lists the names of listeners.
func newSNITable(listeners []*listener) *sniTable {
	d := &sniTable{bootstrap: map[string]*endpoint{}, nodes: listeners}
	for _, l := range listeners {
		e := &endpoint{listener: l, slot: bootstrapSlot}
		host, _ := l.conf.AdvertisedBootstrap()
		d.bootstrap[host] = e
		if l.conf.UnknownSNI == config.SNIBootstrap {
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
	for _, l := range d.nodes {
		if node, ok := l.conf.Names.Find(name); ok {
			return &endpoint{listener: l, slot: int(node)}, nil
		}
	}
	if d.otherwise != nil {
		return d.otherwise, nil
	}
	return nil, errUnknownName
}
