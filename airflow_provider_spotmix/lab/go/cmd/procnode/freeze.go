package main

import (
	"syscall"

	"spotmix.io/lab/cmd/procnode/sandbox"
)

// freeze is what a lost host is to others: from one moment to the next no heartbeat, no answer of the kubelet API, no
// step of any process, and no word about any of it. Unlike [node.die] it ends nothing: connections stay open, and who
// waits for an answer waits. Only [node.die] ends it.
func (n *node) freeze() {
	n.frozen.set()
	n.cancel()
	for _, p := range n.pods.list() {
		for _, c := range p.containers() {
			p.mu.Lock()
			process := c.process
			p.mu.Unlock()
			if process != nil {
				stopAll(process)
			}
		}
	}
}

// freezeLate stops a container that was being started when its node froze.
func (n *node) freezeLate(process *sandbox.Process) {
	if n.frozen.happened() {
		stopAll(process)
	}
}

// stopAll stops every process of a container; again until there is no new one, for those may fork that still run.
func stopAll(process *sandbox.Process) {
	stopped := map[int]bool{}
	for fresh := true; fresh; {
		fresh = false
		for _, pid := range sandbox.Members()[process.Namespace()] {
			if !stopped[pid] {
				stopped[pid], fresh = true, true
				_ = syscall.Kill(pid, syscall.SIGSTOP) // the only error is that it has ended
			}
		}
	}
}
