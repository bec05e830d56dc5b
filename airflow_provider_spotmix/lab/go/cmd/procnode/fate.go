package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"spotmix.io/lab/cmd/procnode/netcut"
	"spotmix.io/lab/cmd/procnode/sandbox"
)

// The provider's word about a machine holds for later processes of its node too: it is a file, machines/NAME. None
// stands for a machine that is well; a [cut] for one whose network is not.
const (
	alive  = ""
	dead   = "dead"
	frozen = "frozen"
)

// seal keeps what has become of a node.
func (m *machine) seal(name, fate string) error {
	path := filepath.Join(m.stateDir, "machines", name)
	if fate == alive {
		if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return sandbox.WriteJSON(path, fate)
}

func (m *machine) fate(name string) string {
	fate := alive
	_ = sandbox.ReadJSON(filepath.Join(m.stateDir, "machines", name), &fate) // there is none: it is well
	return fate
}

// keepFrozen takes over a node that an earlier process has frozen: its port takes connections, its processes stand still.
func (m *machine) keepFrozen(def NodeConfig) error {
	n := &node{machine: m, def: def, frozen: newEvent(), gate: netcut.NewGate(), cancel: func() {}}
	n.pods = newPodController(n)
	n.frozen.set()
	if err := n.listen(); err != nil {
		return fmt.Errorf("frozen: %w", err)
	}
	for dir, record := range m.records() {
		if record.Node == def.Name {
			for _, process := range m.processes(dir) {
				stopAll(process) // again: the earlier process may have ended in the midst of it
			}
		}
	}
	m.mu.Lock()
	m.nodes[def.Name] = n
	m.mu.Unlock()
	return nil
}
