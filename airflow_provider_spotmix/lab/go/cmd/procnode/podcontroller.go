package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// podController turns what the API server tells about a node's pods into the life of [pod]s. Virtual Kubelet's own
// deletes an API object when the grace period is over, whether or not the terminal status was written.
type podController struct {
	node *node

	mu   sync.Mutex
	pods map[types.UID]*pod
	ips  ipPool
	wg   sync.WaitGroup // the pods' lives
}

func newPodController(n *node) *podController {
	return &podController{node: n, pods: map[types.UID]*pod{}, ips: ipPool{net: n.def.PodNet, used: map[string]bool{}}}
}

// watch follows the node's pods until ctx ends; it returns at once.
func (c *podController) watch(ctx context.Context) error {
	factory := informers.NewSharedInformerFactoryWithOptions(c.node.client, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", c.node.def.Name).String()
		}))
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { c.observe(ctx, obj.(*corev1.Pod)) },
		UpdateFunc: func(_, obj any) { c.observe(ctx, obj.(*corev1.Pod)) },
		DeleteFunc: func(obj any) {
			if d, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = d.Obj
			}
			if gone, ok := obj.(*corev1.Pod); ok {
				c.vanished(gone)
			}
		},
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	return nil
}

// observe learns of a pod, or of what changed in it.
func (c *podController) observe(ctx context.Context, obj *corev1.Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, known := c.pods[obj.UID]
	if !known {
		if ctx.Err() != nil || terminal(obj.Status.Phase) && obj.DeletionTimestamp == nil {
			return
		}
		p = c.accept(obj)
	}
	c.begin(ctx, p, obj)
}

// begin begins the life of a pod, unless it has, and tells it what is new.
func (c *podController) begin(ctx context.Context, p *pod, obj *corev1.Pod) {
	_, known := c.pods[p.uid]
	c.pods[p.uid] = p
	p.update(obj)
	if !known { // only now: what is deleted already must not start
		c.wg.Go(func() { p.live(ctx) })
	}
	c.node.machine.hosts.changed()
}

// update takes over what changed in the API object; a deletion begins the end.
func (p *pod) update(obj *corev1.Pod) {
	p.mu.Lock()
	p.obj = obj
	p.mu.Unlock()
	if len(obj.Spec.ReadinessGates) > 0 {
		p.changed()
	}
	if obj.DeletionTimestamp == nil {
		return
	}
	p.deleted.set()
	p.terminate(graceLeft(obj, time.Now()))
}

// graceLeft is what remains of a deleted pod's grace period, which began when its deletion was asked for. The API
// server cuts that time to seconds, in which a pod must not lose any of its grace.
func graceLeft(obj *corev1.Pod, now time.Time) time.Duration {
	grace := time.Duration(0)
	if s := obj.DeletionGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	return max(0, min(grace, obj.DeletionTimestamp.Sub(now)+time.Second))
}

// accept makes the pod, with an address; or, if an earlier process ran it, with the reason why it has failed.
func (c *podController) accept(obj *corev1.Pod) *pod {
	if terminal(obj.Status.Phase) {
		return newPod(c.node, obj, obj.Status.PodIP)
	}
	if hasRun(obj) {
		p := newPod(c.node, obj, obj.Status.PodIP)
		p.lose(time.Now())
		return p
	}
	ip, ok := c.node.def.IP, true
	if !obj.Spec.HostNetwork {
		ip, ok = c.ips.take()
	}
	p := newPod(c.node, obj, ip)
	if !ok {
		p.failure = &failure{"OutOfpods", fmt.Sprintf("all addresses of %s.0/24 are taken", c.node.def.PodNet)}
	}
	return p
}

// hasRun tells whether a container of the pod has been started.
func hasRun(obj *corev1.Pod) bool {
	for _, list := range [][]corev1.ContainerStatus{obj.Status.InitContainerStatuses, obj.Status.ContainerStatuses} {
		for _, s := range list {
			if s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil {
				return true
			}
		}
	}
	return false
}

// lose takes over the states that an earlier process wrote, and fails the pod.
func (p *pod) lose(now time.Time) {
	p.failure = &failure{"NodeRestarted", "the node does not run this pod: the process of the node, or the node itself, " +
		"was started anew after the pod had begun"}
	if t := p.obj.Status.StartTime; t != nil {
		p.started = t.Time
	}
	known := map[string]corev1.ContainerStatus{}
	for _, list := range [][]corev1.ContainerStatus{p.obj.Status.InitContainerStatuses, p.obj.Status.ContainerStatuses} {
		for _, s := range list {
			known[s.Name] = s
		}
	}
	for _, c := range p.containers() {
		if s, ok := known[c.spec.Name]; ok {
			c.state, c.last, c.restarts = lostState(s.State, now), s.LastTerminationState, s.RestartCount
			c.attempts = int(s.RestartCount) + 1
		}
	}
}

// vanished: the API object is gone, so nobody waits for hooks or for a status any more.
func (c *podController) vanished(obj *corev1.Pod) {
	c.mu.Lock()
	p := c.pods[obj.UID]
	c.mu.Unlock()
	if p != nil {
		p.kill()
	}
}

// forget frees what the pod held.
func (c *podController) forget(p *pod) {
	c.mu.Lock()
	delete(c.pods, p.uid)
	c.ips.give(p.ip)
	c.mu.Unlock()
	c.node.machine.hosts.changed()
}

// killAll ends every process at once and returns when all are gone. The context of watch must have ended before.
func (c *podController) killAll() {
	for _, p := range c.list() {
		p.kill()
	}
	c.wg.Wait()
}

func (c *podController) list() []*pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*pod, 0, len(c.pods))
	for _, p := range c.pods {
		out = append(out, p)
	}
	return out
}

// find returns the pod that has this name now; one that is being replaced may still be on its way out.
func (c *podController) find(namespace, name string) *pod {
	var found *pod
	for _, p := range c.list() {
		if p.key() == namespace+"/"+name && (found == nil || found.deleted.happened()) {
			found = p
		}
	}
	return found
}

// ipPool hands out the addresses of a /24, each as late as possible after its last use.
type ipPool struct {
	net  string
	next int
	used map[string]bool
}

// The last parts of pod addresses: .0, .1 and .255 are left out, as a reader expects.
const (
	firstIP = 2
	lastIP  = 254
)

func (s *ipPool) take() (string, bool) {
	for range lastIP - firstIP + 1 {
		ip := fmt.Sprintf("%s.%d", s.net, firstIP+s.next)
		s.next = (s.next + 1) % (lastIP - firstIP + 1)
		if !s.used[ip] {
			s.used[ip] = true
			return ip, true
		}
	}
	return "", false
}

func (s *ipPool) give(ip string) { delete(s.used, ip) }
