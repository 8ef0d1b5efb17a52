package proxy

// Parked returns how many sessions are parked now, and how many were in all.
func (p *Proxy) Parked() (now int, ever uint64) {
	p.parked.mu.Lock()
	defer p.parked.mu.Unlock()
	return len(p.parked.sessions), p.parked.last
}
