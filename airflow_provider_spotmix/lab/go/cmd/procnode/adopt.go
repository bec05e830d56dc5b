package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"spotmix.io/lab/cmd/procnode/sandbox"
)

// The node's process may end at any time, and its containers go on. What the next one needs to go on with their pods,
// beside what the API server and the containers' shims tell, is in the pods' records.

// podRecord is the file pod.json in a pod's directory.
type podRecord struct {
	uid types.UID // the directory's name

	Node       string                     `json:"node"`
	IP         string                     `json:"ip"`
	Started    time.Time                  `json:"started"`
	Volumes    map[string]string          `json:"volumes"` // null until all are made
	Failure    *[2]string                 `json:"failure"` // reason and message
	Deadline   time.Time                  `json:"deadline"`
	Containers map[string]containerRecord `json:"containers"`
}

type containerRecord struct {
	State       corev1.ContainerState `json:"state"`
	Last        corev1.ContainerState `json:"last"`
	Restarts    int32                 `json:"restarts"`
	Crashes     int32                 `json:"crashes"`
	Attempts    int                   `json:"attempts"`
	Started     bool                  `json:"started"`   // ever
	StartedUp   bool                  `json:"startedUp"` // its current attempt; see health
	Ready       bool                  `json:"ready"`
	OutOfMemory bool                  `json:"outOfMemory"`
	Ending      ending                `json:"ending"`
}

const recordFile = "pod.json"

// save writes the pod's record. A pod whose directory is gone needs none.
func (p *pod) save() {
	p.saveMu.Lock()
	defer p.saveMu.Unlock()
	err := sandbox.WriteJSON(filepath.Join(p.dir, recordFile), p.record())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		slog.Error("save the pod's record", "pod", p.key(), "error", err)
	}
}

// removeFiles removes the pod's directory. Nothing is saved into it meanwhile or afterwards.
func (p *pod) removeFiles() {
	p.saveMu.Lock()
	defer p.saveMu.Unlock()
	if err := os.RemoveAll(p.dir); err != nil {
		slog.Warn("remove the pod's files", "pod", p.key(), "error", err)
	}
}

func (p *pod) record() podRecord {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := podRecord{
		Node: p.node.def.Name, IP: p.ip, Started: p.started, Volumes: p.volumes, Deadline: p.deadline,
		Containers: map[string]containerRecord{},
	}
	if p.failure != nil {
		r.Failure = &[2]string{p.failure.reason, p.failure.message}
	}
	for _, c := range p.containers() {
		r.Containers[c.spec.Name] = containerRecord{
			State: c.state, Last: c.last, Restarts: c.restarts, Crashes: c.crashes, Attempts: c.attempts,
			Started: c.started.happened(), StartedUp: c.health.started, Ready: c.health.ready,
			OutOfMemory: c.outOfMemory, Ending: c.ending,
		}
	}
	return r
}

// restore is what [pod.record] was; nobody else knows the pod yet.
func (p *pod) restore(r podRecord) {
	p.started, p.volumes = r.Started, r.Volumes
	if r.Failure != nil {
		p.failure = &failure{r.Failure[0], r.Failure[1]}
	}
	for _, condition := range p.obj.Status.Conditions {
		p.since[condition.Type] = condition
	}
	for _, c := range p.containers() {
		if saved, ok := r.Containers[c.spec.Name]; ok {
			c.restore(saved)
		}
	}
	if !r.Deadline.IsZero() {
		p.terminate(time.Until(r.Deadline))
	}
}

func (c *container) restore(r containerRecord) {
	c.state, c.last, c.restarts, c.crashes, c.attempts = r.State, r.Last, r.Restarts, r.Crashes, r.Attempts
	c.outOfMemory, c.ending = r.OutOfMemory, r.Ending
	c.health = health{started: r.StartedUp, ready: r.Ready} // which the kubelet's restart does not change either
	if r.Started {
		c.started.set()
	}
	if c.attempts > 0 && c.attemptEnd() == nil {
		c.ended = make(chan struct{})
	}
}

// attemptEnd is how the latest attempt ended, if that is known.
func (c *container) attemptEnd() *corev1.ContainerStateTerminated {
	for _, state := range []corev1.ContainerState{c.state, c.last} {
		if end := state.Terminated; end != nil && end.ContainerID == c.id() {
			return end
		}
	}
	return nil
}

// resume goes on with what an earlier process of the node began: it waits for the end of the attempt that runs, or
// returns the end of the one that has ended; nil if an attempt is due.
func (c *container) resume() *corev1.ContainerStateTerminated {
	if c.attempts == 0 {
		return nil
	}
	if end := c.attemptEnd(); end != nil {
		if w := c.state.Waiting; w != nil && w.Reason != crashLoopBackOff { // it has waited for its restart, and counts it
			return nil
		}
		return end
	}
	process, err := c.pod.node.machine.launcher.Adopt(c.dir(c.attempts - 1))
	if err != nil {
		slog.Info("a container was not started", "pod", c.pod.key(), "container", c.spec.Name, "error", err)
		c.pod.mu.Lock()
		c.attempts--
		c.pod.mu.Unlock()
		return nil
	}
	if err := process.StartError(); err != nil {
		return c.finish(err)
	}
	c.running(process)
	return c.finish(nil)
}

// adopt takes over the pods of an earlier process of the node; those that the API server does not know any more end. It
// returns when it knows which; their lives, bounded by ctx, have begun then.
func (c *podController) adopt(begin, ctx context.Context) error {
	left := map[types.UID]podRecord{}
	for _, record := range c.node.machine.records() {
		if record.Node == c.node.def.Name {
			left[record.uid] = record
		}
	}
	if len(left) == 0 {
		return nil
	}
	bound, err := c.bound(begin)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range bound {
		obj := &bound[i]
		record, ok := left[obj.UID]
		if !ok {
			continue
		}
		delete(left, obj.UID)
		p := newPod(c.node, obj, record.IP)
		p.restore(record)
		c.ips.used[record.IP] = true
		c.begin(ctx, p, obj)
		slog.Info("pod is taken over", "node", c.node.def.Name, "pod", p.key())
	}
	go c.node.machine.purge(func(r podRecord) bool {
		_, ok := left[r.uid]
		return ok
	})
	return nil
}

// bound asks the API server for the node's pods until it answers.
func (c *podController) bound(ctx context.Context) ([]corev1.Pod, error) {
	options := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", c.node.def.Name).String()}
	for {
		list, err := c.node.client.CoreV1().Pods("").List(ctx, options)
		if err == nil {
			return list.Items, nil
		}
		slog.Warn("list the node's pods", "node", c.node.def.Name, "error", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(retryInterval):
		}
	}
}

// records are those of all pods on this machine, by directory. A directory without one counts as of no node.
func (m *machine) records() map[string]podRecord {
	out := map[string]podRecord{}
	dirs, _ := filepath.Glob(filepath.Join(m.stateDir, "pods", "*")) // the only error is a bad pattern
	for _, dir := range dirs {
		record := podRecord{}
		if err := sandbox.ReadJSON(filepath.Join(dir, recordFile), &record); err != nil && !errors.Is(err, os.ErrNotExist) {
			slog.Warn("read a pod's record", "directory", dir, "error", err)
		}
		record.uid = types.UID(filepath.Base(dir))
		out[dir] = record
	}
	return out
}

// processes are the containers that were started in a pod's directory.
func (m *machine) processes(dir string) []*sandbox.Process {
	out := []*sandbox.Process{}
	attempts, _ := filepath.Glob(filepath.Join(dir, "containers", "*", "*"))
	for _, attempt := range attempts {
		if process, err := m.launcher.Adopt(attempt); err == nil {
			out = append(out, process)
		}
	}
	return out
}

// purge ends and removes all that is left of pods; it returns when that is done. Only for pods that nobody lives.
func (m *machine) purge(which func(podRecord) bool) {
	var wg sync.WaitGroup
	for dir, record := range m.records() {
		if !which(record) {
			continue
		}
		wg.Go(func() {
			for _, process := range m.processes(dir) {
				process.Signal(syscall.SIGKILL)
				process.Wait()
			}
			if err := os.RemoveAll(dir); err != nil {
				slog.Warn("remove a pod's files", "directory", dir, "error", err)
			}
		})
	}
	wg.Wait()
}
