package main

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"spotmix.io/lab/cmd/procnode/sandbox"
)

// settle is how long status changes are gathered before one write.
const settle = 5 * time.Millisecond

// retryInterval is between tries of a write that the API server did not take.
const retryInterval = 500 * time.Millisecond

// pod is one pod on one node, from the time it is seen until its API object is gone.
//
// Its order at the end is what others rely on (Spark takes a pod that it last saw Running for alive): the processes
// end, then the terminal status is written, then the API object is deleted.
type pod struct {
	node *node
	uid  types.UID
	ip   string // never changes
	dir  string // of volumes and containers; removed when the API object is gone

	stopping  *event // its containers are to end: it is deleted, past its deadline, done but for sidecars, or its node dies
	deleted   *event // its API object is to go
	graceOver *event // its grace period is over
	forced    *event // nothing may be waited for: the API object is gone, or the node dies
	ended     *event // no process runs, and none will

	mu         sync.Mutex // guards what follows, and the containers' fields
	obj        *corev1.Pod
	started    time.Time
	failure    *failure
	volumes    map[string]string // paths by name; nil until all are made
	tokens     map[string]heldToken
	init, main []*container
	graceTimer *time.Timer
	deadline   time.Time

	writeMu sync.Mutex // held during a status write: the last write always has the latest state
	written []byte
	since   map[corev1.PodConditionType]corev1.PodCondition
	dirty   chan struct{}

	saveMu sync.Mutex // held while the record is written: the last one has the latest state
}

func newPod(n *node, obj *corev1.Pod, ip string) *pod {
	p := &pod{
		node: n, uid: obj.UID, ip: ip, dir: filepath.Join(n.machine.stateDir, "pods", string(obj.UID)),
		stopping: newEvent(), deleted: newEvent(), graceOver: newEvent(), forced: newEvent(), ended: newEvent(),
		obj: obj, started: time.Now(), since: map[corev1.PodConditionType]corev1.PodCondition{}, dirty: make(chan struct{}, 1),
	}
	first := waiting("ContainerCreating", "")
	if len(obj.Spec.InitContainers) > 0 {
		first = waiting("PodInitializing", "")
	}
	for _, c := range obj.Spec.InitContainers {
		p.init = append(p.init, newContainer(p, c, true, first))
	}
	for _, c := range obj.Spec.Containers {
		p.main = append(p.main, newContainer(p, c, false, first))
	}
	return p
}

func (p *pod) object() *corev1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.obj
}

func (p *pod) name() string      { return p.object().Name }
func (p *pod) namespace() string { return p.object().Namespace }
func (p *pod) key() string       { return p.namespace() + "/" + p.name() }

// hostname is the pod's own wish, else its name.
func (p *pod) hostname() string {
	name := p.object().Spec.Hostname
	if name == "" {
		name = p.name()
	}
	return sandbox.Hostname(name)
}

// containers needs no lock: the list never changes.
func (p *pod) containers() []*container { return append(append([]*container{}, p.init...), p.main...) }

// logPath is where an attempt of a container logs: outside dir, so that logs outlive their pod until the lab goes.
func (p *pod) logPath(container string, attempt int) string {
	obj := p.object()
	name := obj.Namespace + "_" + obj.Name + "_" + string(obj.UID)
	return filepath.Join(p.node.machine.stateDir, "logs", name, container, strconv.Itoa(attempt)+".log")
}

// live is the pod's whole life; run on a goroutine of its own. ctx ends with the node.
func (p *pod) live(ctx context.Context) {
	if err := makeDir(p.dir, 0o755); err != nil {
		slog.Error("make the pod's directory", "pod", p.key(), "error", err)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		p.writeChanges(ctx)
	}()
	p.changed()
	stopTimer := p.startDeadline()
	p.run(ctx)
	stopTimer()
	p.ended.set()
	<-written
	until(ctx, p.forced, "write the last status", p.key(), func() error { return p.writeStatus(ctx) })
	select {
	case <-ctx.Done():
		return
	case <-p.deleted.done():
	}
	until(ctx, p.forced, "delete the API object", p.key(), func() error { return p.deleteObject(ctx) })
	select {
	case <-ctx.Done():
	case <-p.forced.done(): // its API object is gone
		p.node.pods.forget(p)
		p.removeFiles()
	}
}

// until repeats do until it succeeds, ctx ends, or nobody needs it any more.
func until(ctx context.Context, needless *event, what, key string, do func() error) {
	for !needless.happened() && ctx.Err() == nil {
		err := do()
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			slog.Warn(what, "pod", key, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-needless.done():
		case <-time.After(retryInterval):
		}
	}
}

// run runs the pod's containers until all have ended for good.
func (p *pod) run(ctx context.Context) {
	if terminal(p.object().Status.Phase) || p.failed() && p.volumes == nil {
		return
	}
	volumes, ok := p.volumes, true // those that an earlier process of the node made
	if volumes == nil {
		volumes, ok = p.awaitVolumes(ctx)
	}
	if !ok {
		return
	}
	go p.updateVolumes(ctx, volumes)
	var sidecars []*container
	defer func() { p.endSidecars(sidecars) }()
	for _, c := range p.init {
		if !c.sidecar() {
			if !c.supervise(ctx, volumes) {
				return
			}
			continue
		}
		sidecars = append(sidecars, c)
		go func() {
			defer c.over.set()
			c.supervise(ctx, volumes)
		}()
		select {
		case <-c.started.done():
		case <-c.over.done(): // it did not start before the pod was to stop
			return
		}
	}
	var wg sync.WaitGroup
	for _, c := range p.main {
		wg.Go(func() { c.supervise(ctx, volumes) })
	}
	wg.Wait()
}

// awaitVolumes tries until all volumes can be made, as the kubelet does; false if the pod is to stop.
func (p *pod) awaitVolumes(ctx context.Context) (map[string]string, bool) {
	for delay, warned := configInterval, ""; ; delay = min(delay*3/2, 2*time.Second) {
		if p.stopping.happened() {
			return nil, false
		}
		volumes, err := p.prepareVolumes(ctx)
		if err == nil {
			p.mu.Lock()
			p.volumes = volumes
			p.mu.Unlock()
			return volumes, true
		}
		if err.Error() != warned {
			warned = err.Error()
			p.warn("FailedMount", warned)
		}
		select {
		case <-p.stopping.done():
		case <-time.After(delay):
		}
	}
}

func (p *pod) view() podView {
	over := p.ended.happened()
	p.mu.Lock()
	defer p.mu.Unlock()
	v := podView{
		uid: p.uid, generation: p.obj.Generation, ip: p.ip, hostIP: p.node.def.IP, started: p.started,
		over: over,
	}
	if over { // what still runs must not be taken for ended
		v.failure = p.failure
	}
	views := func(list []*container) []containerView {
		out := make([]containerView, len(list))
		for i, c := range list {
			out[i] = containerView{
				name: c.spec.Name, image: c.spec.Image, id: c.id(), state: c.state, last: c.last, restarts: c.restarts,
				sidecar: c.sidecar(), health: c.health,
			}
		}
		return out
	}
	v.init, v.main = views(p.init), views(p.main)
	v.gates = closedGates(p.obj)
	return v
}

// changed keeps what has changed for a later process of the node, and asks for a status write, soon.
func (p *pod) changed() {
	p.save()
	select {
	case p.dirty <- struct{}{}:
	default:
	}
}

// writeChanges writes the status after changes until the pod's processes have ended; live writes the last status.
func (p *pod) writeChanges(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.ended.done():
			return
		case <-p.dirty:
		}
		select {
		case <-p.ended.done():
			return
		case <-time.After(settle):
		}
		if err := p.writeStatus(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("write status", "pod", p.key(), "error", err)
			time.AfterFunc(retryInterval, p.changed)
		}
	}
}

// writeStatus patches the status if it differs from what was written before. A pod that is gone is no error.
func (p *pod) writeStatus(ctx context.Context) error {
	p.writeMu.Lock()
	defer p.writeMu.Unlock()
	obj := p.object()
	if terminal(obj.Status.Phase) && p.written == nil { // it had ended before we saw it
		return nil
	}
	body, err := p.view().patch(p.since, time.Now())
	if err != nil || bytes.Equal(body, p.written) {
		return err
	}
	pods := p.node.client.CoreV1().Pods(obj.Namespace)
	_, err = pods.Patch(ctx, obj.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
	if err != nil && !gone(err) {
		return err
	}
	p.written = body
	return nil
}

// deleteObject removes the API object for good, if it is still this pod's.
func (p *pod) deleteObject(ctx context.Context) error {
	obj := p.object()
	err := p.node.client.CoreV1().Pods(obj.Namespace).Delete(ctx, obj.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64), Preconditions: &metav1.Preconditions{UID: &obj.UID},
	})
	if gone(err) {
		return nil
	}
	return err
}

// gone: the pod does not exist, or another one has its name.
func gone(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }

func (p *pod) note(reason, message string) {
	p.node.events.Event(p.object(), corev1.EventTypeNormal, reason, message)
}

func (p *pod) warn(reason, message string) {
	slog.Warn(message, "node", p.node.def.Name, "pod", p.key(), "reason", reason)
	p.node.events.Event(p.object(), corev1.EventTypeWarning, reason, message)
}
