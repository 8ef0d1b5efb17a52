package proxy

// Parked returns how many sessions are parked now, and how many were in all.
func (p *Proxy) Parked() (now int, ever uint64) {
	p.lot.mu.Lock()
	defer p.lot.mu.Unlock()
	return len(p.lot.sessions), p.lot.last
}
