package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"spotmix.io/lab/cmd/procnode/netcut"
	"spotmix.io/lab/cmd/procnode/sandbox"
)

// cut is which part of its network a node has lost; empty while it is whole. Pods run on in any case.
type cut string

const (
	cutFromAPI  cut = "cut-from-api"  // the node and the API server hear nothing of each other
	cutFromPods cut = "cut-from-pods" // its pods and everybody outside the node hear nothing of each other
	cutOff      cut = "cut-off"       // both
)

func (c cut) api() bool  { return c != cutFromPods && c != "" }
func (c cut) pods() bool { return c != cutFromAPI && c != "" }

// severInterval is how often connections are looked for that the pods of a node have made since they were cut off. One
// can carry something for that long.
const severInterval = 25 * time.Millisecond

// partition keeps nodes apart. Its lock is taken before the machine's.
type partition struct {
	machine *machine

	mu      sync.Mutex // guards each node's cut, too
	severed map[*node]netcut.Severed
}

// cutNode breaks a node's network.
func (m *machine) cutNode(name string, c cut) (int, error) {
	p := &m.partition
	p.mu.Lock()
	defer p.mu.Unlock()
	n, code, err := m.running(name)
	if err != nil {
		return code, err
	}
	if n.cut != "" {
		return http.StatusConflict, fmt.Errorf("node %s is %s already", name, n.cut)
	}
	if c.pods() {
		if err := p.add(n); err != nil {
			return http.StatusNotImplemented, fmt.Errorf("this machine does not let the lab cut connections of pods: %w", err)
		}
	}
	if c.api() {
		n.gate.Shut()
	}
	n.cut = c
	return http.StatusOK, m.seal(name, string(c))
}

// mendNode makes a node's network whole again.
func (m *machine) mendNode(name string) (int, error) {
	p := &m.partition
	p.mu.Lock()
	defer p.mu.Unlock()
	n, code, err := m.running(name)
	if err != nil {
		return code, err
	}
	if n.cut == "" {
		return http.StatusConflict, fmt.Errorf("the network of node %s is whole", name)
	}
	if n.cut.pods() {
		p.remove(n)
	}
	n.gate.Open()
	n.cut = ""
	return http.StatusOK, m.seal(name, alive)
}

// running finds a node that is neither dead nor frozen.
func (m *machine) running(name string) (*node, int, error) {
	if _, err := m.cfg.node(name); err != nil {
		return nil, http.StatusNotFound, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[name]
	if n == nil || n.frozen.happened() {
		return nil, http.StatusConflict, fmt.Errorf("node %s is dead or frozen", name)
	}
	return n, http.StatusOK, nil
}

// cutRows are the nodes that run behind a network which is not whole.
func (m *machine) cutRows() map[string]cut {
	m.partition.mu.Lock()
	defer m.partition.mu.Unlock()
	rows := map[string]cut{}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, n := range m.nodes {
		if n.cut != "" && !n.frozen.happened() {
			rows[name] = n.cut
		}
	}
	return rows
}

// add cuts the node's pods off; p.mu is held, as for what follows.
func (p *partition) add(n *node) error {
	severed := netcut.Severed{}
	if err := p.sever(n, severed); err != nil {
		return errors.Join(err, p.mend())
	}
	if p.severed == nil {
		p.severed = map[*node]netcut.Severed{}
	}
	p.severed[n] = severed
	if len(p.severed) == 1 {
		go p.keep()
	}
	return nil
}

// remove lets a node's pods be heard again, or what is left of a dead node's connections end.
func (p *partition) remove(n *node) {
	delete(p.severed, n)
	if err := p.mend(); err != nil {
		slog.Error("mend connections", "node", n.def.Name, "error", err)
	}
	for other, severed := range p.severed { // theirs may have been among the mended
		clear(severed)
		p.severAgain(other, severed)
	}
}

// keep cuts what pods connect to after their node was cut off, as long as there is such a node.
func (p *partition) keep() {
	for {
		time.Sleep(severInterval)
		p.mu.Lock()
		for n, severed := range p.severed {
			if closed(n.left) {
				p.remove(n)
			} else {
				p.severAgain(n, severed)
			}
		}
		last := len(p.severed) == 0
		p.mu.Unlock()
		if last {
			return
		}
	}
}

func (p *partition) severAgain(n *node, severed netcut.Severed) {
	if err := p.sever(n, severed); err != nil {
		slog.Warn("cut connections", "node", n.def.Name, "error", err)
	}
}

func (p *partition) sever(n *node, severed netcut.Severed) error {
	inside, outside := p.pids(n)
	return severed.Sever(inside, outside)
}

func (p *partition) mend() error {
	_, all := p.pids(nil)
	return netcut.Mend(all)
}

// pids are the processes of a node's pods, and of those of all other nodes.
func (p *partition) pids(n *node) (inside, outside []int) {
	members := sandbox.Members()
	for _, pod := range p.machine.pods() {
		pids := []int{}
		pod.mu.Lock()
		for _, c := range pod.containers() {
			if c.process != nil {
				pids = append(pids, members[c.process.Namespace()]...)
			}
		}
		pod.mu.Unlock()
		if pod.node == n {
			inside = append(inside, pids...)
		} else {
			outside = append(outside, pids...)
		}
	}
	return inside, outside
}
