package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"
	"spotmix.io/lab/cmd/procnode/sandbox"
)

// minimumTermGrace is what a container gets between SIGTERM and SIGKILL even if its preStop hook used up the grace
// period, as in the kubelet.
const minimumTermGrace = 2 * time.Second

// hookEndDelay is what may pass between the end of a hook that a container's end killed, and our knowing of that end.
const hookEndDelay = 200 * time.Millisecond

// terminate begins the end of the pod, or shortens what is left of its grace period.
func (p *pod) terminate(grace time.Duration) {
	if p.setDeadline(grace) {
		p.stopping.set()
		p.save()
	}
}

// setDeadline returns false where an earlier deadline stands.
func (p *pod) setDeadline(grace time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	deadline := time.Now().Add(grace)
	switch {
	case p.graceTimer == nil:
		p.graceTimer = time.AfterFunc(grace, p.graceOver.set)
	case deadline.Before(p.deadline):
		p.graceTimer.Reset(grace)
	default:
		return false
	}
	p.deadline = deadline
	return true
}

// kill ends every process of the pod at once, without hooks or grace.
func (p *pod) kill() {
	p.forced.set()
	p.deleted.set()
	p.stopping.set()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.containers() {
		if c.process != nil {
			c.process.Signal(syscall.SIGKILL)
		}
	}
}

// ending is how far a running container has been asked to end. A process of the node that takes over goes on from there;
// one that ended in the midst of a step leaves that step to be done again, as Kubernetes documents it for hooks.
type ending int

const (
	notAsked ending = iota
	hookDone        // its preStop hook, if it has one
	asked           // by SIGTERM
)

func (c *container) reached(step ending) {
	c.pod.mu.Lock()
	c.ending = step
	c.pod.mu.Unlock()
	c.pod.save()
}

func (c *container) progress() ending {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	return c.ending
}

// shutDown ends a running container: preStop hook, a sidecar's turn, SIGTERM, what is left of the grace period, SIGKILL.
func (c *container) shutDown(process *sandbox.Process) {
	p := c.pod
	if c.progress() == notAsked {
		p.note("Killing", fmt.Sprintf("Stopping container %s", c.spec.Name))
		c.preStop(process)
		c.reached(hookDone)
	}
	c.awaitTurn(process)
	if c.progress() == hookDone {
		c.send(process, syscall.SIGTERM)
		c.reached(asked)
	}
	least := time.After(minimumTermGrace)
	select {
	case <-process.Done():
		return
	case <-p.forced.done():
	case <-p.graceOver.done():
		select {
		case <-process.Done():
			return
		case <-p.forced.done():
		case <-least:
		}
	}
	c.send(process, syscall.SIGKILL)
}

// awaitTurn holds a sidecar until the containers that may need it have ended, as long as the grace period lasts.
func (c *container) awaitTurn(process *sandbox.Process) {
	if !c.sidecar() {
		return
	}
	select {
	case <-c.turn.done():
	case <-process.Done():
	case <-c.pod.graceOver.done():
	case <-c.pod.forced.done():
	}
}

// send signals a container, unless its node is frozen: nothing happens on that.
func (c *container) send(process *sandbox.Process, signal syscall.Signal) {
	if !c.pod.node.frozen.happened() {
		process.Signal(signal)
	}
}

// preStop runs the container's hook until it is done, the container has ended, or the grace period is over.
func (c *container) preStop(process *sandbox.Process) {
	p := c.pod
	if c.spec.Lifecycle == nil || c.spec.Lifecycle.PreStop == nil || p.graceOver.happened() || p.forced.happened() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-process.Done():
		case <-p.graceOver.done():
		case <-p.forced.done():
		case <-ctx.Done():
		}
		cancel()
	}()
	begin := time.Now()
	output, err := p.runHook(ctx, process, &c.spec, c.spec.Lifecycle.PreStop)
	slog.Info("preStop hook ended", "node", p.node.def.Name, "pod", p.key(), "container", c.spec.Name,
		"seconds", time.Since(begin).Seconds(), "error", err, "output", output)
	if err == nil {
		return
	}
	select {
	case <-process.Done(): // the hook ended with its container, which is what hooks that wait for the end do
	case <-time.After(hookEndDelay):
		p.warn("FailedPreStopHook", fmt.Sprintf("Container %s: %v: %s", c.spec.Name, err, output))
	}
}

func (p *pod) runHook(ctx context.Context, process *sandbox.Process, c *corev1.Container, h *corev1.LifecycleHandler) (string, error) {
	switch {
	case h.Exec != nil:
		out, err := process.Enter(ctx, h.Exec.Command...).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	case h.Sleep != nil:
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
			return "", nil
		}
	case h.HTTPGet != nil:
		return "", p.getHook(ctx, c, h.HTTPGet)
	}
	return "", fmt.Errorf("this kind of hook is not supported by the lab; supported: exec, httpGet, sleep")
}

func (p *pod) getHook(ctx context.Context, c *corev1.Container, get *corev1.HTTPGetAction) error {
	request, err := httpprobe.NewRequestForHTTPGetAction(get, c, p.ip, "lifecycle")
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request.WithContext(ctx))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("GET %s: %s", request.URL, response.Status)
	}
	return nil
}

// postStart runs the container's hook until it is done, or the pod is to stop.
// https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/
func (c *container) postStart(process *sandbox.Process) error {
	p := c.pod
	if c.spec.Lifecycle == nil || c.spec.Lifecycle.PostStart == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-process.Done():
		case <-p.stopping.done():
		case <-ctx.Done():
		}
		cancel()
	}()
	output, err := p.runHook(ctx, process, &c.spec, c.spec.Lifecycle.PostStart)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	p.warn("FailedPostStartHook", fmt.Sprintf("Container %s: %v: %s", c.spec.Name, err, output))
	return err
}
