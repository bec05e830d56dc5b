package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"spotmix.io/lab/cmd/procnode/sandbox"
)

// memoryInterval is how often containers are weighed. Where a cgroup is delegated to us the kernel keeps their limits at
// once, except for what was entered later (exec, hooks, probes); elsewhere a container may pass its limit for that long.
const memoryInterval = 250 * time.Millisecond

// limitedContainer is a running container with a memory limit.
type limitedContainer struct {
	container *container
	process   *sandbox.Process
	limit     int64 // bytes
}

// watchMemory kills each container that holds more memory than its limit, whole, as a kubelet on cgroup v2 has it done.
func (m *machine) watchMemory(ctx context.Context) {
	ticker := time.NewTicker(memoryInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		limited := m.limitedContainers()
		if len(limited) == 0 {
			continue
		}
		members := sandbox.Members()
		for _, l := range limited {
			if held := heldMemory(members[l.process.Namespace()], l.limit); held > l.limit {
				l.kill(held)
			}
		}
	}
}

func (m *machine) limitedContainers() []limitedContainer {
	out := []limitedContainer{}
	for _, p := range m.pods() {
		if p.node.frozen.happened() {
			continue
		}
		p.mu.Lock()
		for _, c := range p.containers() {
			limit := c.spec.Resources.Limits.Memory().Value()
			if c.process != nil && limit > 0 {
				out = append(out, limitedContainer{c, c.process, limit})
			}
		}
		p.mu.Unlock()
	}
	return out
}

func (l limitedContainer) kill(held int64) {
	p := l.container.pod
	p.mu.Lock()
	current := l.container.process == l.process
	if current {
		l.container.outOfMemory = true
	}
	p.mu.Unlock()
	if current {
		p.save()
		p.warn("OOMKilling", fmt.Sprintf("Container %s holds %d bytes of memory, more than its limit of %d",
			l.container.spec.Name, held, l.limit))
		l.container.send(l.process, syscall.SIGKILL)
	}
}

// heldMemory is the memory of processes that no kernel could take from them: anonymous and shared, in bytes. What forked
// processes share is counted once if the quick sum, which counts it for each, is more than enough.
func heldMemory(pids []int, enough int64) int64 {
	total := int64(0)
	for _, pid := range pids {
		total += sumFields(fmt.Sprintf("/proc/%d/status", pid), "RssAnon:", "RssShmem:")
	}
	if total <= enough {
		return total
	}
	total = 0
	for _, pid := range pids {
		total += sumFields(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss_Anon:", "Pss_Shmem:")
	}
	return total
}

// sumFields adds up fields of a file in /proc, given in kB, as bytes; 0 if the process is gone.
func sumFields(path string, names ...string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	total := int64(0)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		for _, name := range names {
			if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
				kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				total += kilobytes << 10
			}
		}
	}
	return total
}
