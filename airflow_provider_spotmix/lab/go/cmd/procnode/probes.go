package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/probe"
	grpcprobe "k8s.io/kubernetes/pkg/probe/grpc"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"
	tcpprobe "k8s.io/kubernetes/pkg/probe/tcp"
	"spotmix.io/lab/cmd/procnode/sandbox"
)

// health is what probes have found out about the current attempt of a container.
// https://kubernetes.io/docs/concepts/workloads/pods/probes/
type health struct {
	started bool // its startup probe has succeeded, if it has one
	ready   bool // so has its readiness probe, which may fail again
}

// untested is the health of a container that has just been started.
func untested(c *corev1.Container) health {
	return health{started: c.StartupProbe == nil, ready: c.StartupProbe == nil && c.ReadinessProbe == nil}
}

// probe looks after the health of a running process until it has ended.
func (c *container) probe(process *sandbox.Process) {
	c.pod.mu.Lock()
	started := c.health.started
	c.pod.mu.Unlock()
	if !started && !c.awaitStartup(process) {
		return
	}
	if p := c.spec.LivenessProbe; p != nil {
		go c.repeat(process, "Liveness", p, func(healthy bool) bool {
			if !healthy {
				c.endUnhealthy(process, "liveness", p)
			}
			return healthy
		})
	}
	if p := c.spec.ReadinessProbe; p != nil {
		go c.repeat(process, "Readiness", p, func(healthy bool) bool {
			c.setHealth(process, health{started: true, ready: healthy})
			return true
		})
	}
}

// awaitStartup waits for the startup probe; false if it will not succeed.
func (c *container) awaitStartup(process *sandbox.Process) bool {
	started := c.spec.StartupProbe == nil
	if p := c.spec.StartupProbe; p != nil {
		c.repeat(process, "Startup", p, func(healthy bool) bool {
			if started = healthy; !healthy {
				c.endUnhealthy(process, "startup", p)
			}
			return false
		})
	}
	if started {
		c.setHealth(process, health{started: true, ready: c.spec.ReadinessProbe == nil})
		c.started.set()
	}
	return started
}

func (c *container) setHealth(process *sandbox.Process, h health) {
	c.pod.mu.Lock()
	changed := c.process == process && c.health != h
	if changed {
		c.health = h
	}
	c.pod.mu.Unlock()
	if changed {
		c.pod.changed()
	}
}

// repeat probes until the process has ended, or judge, which gets each verdict that the thresholds allow, returns false.
// Only readiness matters once the pod is to stop.
func (c *container) repeat(process *sandbox.Process, kind string, p *corev1.Probe, judge func(healthy bool) bool) {
	row := streak{}
	for delay := seconds(p.InitialDelaySeconds); ; delay = seconds(p.PeriodSeconds) {
		select {
		case <-process.Done():
			return
		case <-time.After(delay):
		}
		if c.pod.node.frozen.happened() || c.pod.stopping.happened() && kind != "Readiness" {
			return
		}
		output, ok := c.try(process, p)
		if closed(process.Done()) { // it failed because of that, or is no longer true
			return
		}
		if !ok {
			c.pod.warn("Unhealthy", fmt.Sprintf("%s probe of container %s failed: %s", kind, c.spec.Name, output))
		}
		if row.add(ok) >= row.needed(p) && !judge(ok) {
			return
		}
	}
}

// streak is how often in a row a probe came to the same result.
type streak struct {
	ok    bool
	times int32
}

func (s *streak) add(ok bool) int32 {
	if s.ok != ok {
		*s = streak{ok: ok}
	}
	s.times++
	return s.times
}

func (s *streak) needed(p *corev1.Probe) int32 {
	if s.ok {
		return p.SuccessThreshold
	}
	return p.FailureThreshold
}

// try makes one attempt of a probe.
func (c *container) try(process *sandbox.Process, p *corev1.Probe) (string, bool) {
	ip, timeout := c.pod.ip, seconds(p.TimeoutSeconds)
	result, output, err := probe.Failure, "", error(nil)
	switch {
	case p.Exec != nil:
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		said, err := process.Enter(ctx, p.Exec.Command...).CombinedOutput()
		if ctx.Err() != nil {
			return fmt.Sprintf("no answer within %s", timeout), false
		}
		return strings.TrimSpace(string(said)), err == nil
	case p.HTTPGet != nil:
		request, failed := httpprobe.NewRequestForHTTPGetAction(p.HTTPGet, &c.spec, ip, "probe")
		if failed != nil {
			return failed.Error(), false
		}
		result, output, err = httpprobe.New(false).Probe(request, timeout)
	case p.TCPSocket != nil:
		port, failed := probe.ResolveContainerPort(p.TCPSocket.Port, &c.spec)
		if failed != nil {
			return failed.Error(), false
		}
		if p.TCPSocket.Host != "" {
			ip = p.TCPSocket.Host
		}
		result, output, err = tcpprobe.New().Probe(ip, port, timeout)
	case p.GRPC != nil:
		service := ""
		if p.GRPC.Service != nil {
			service = *p.GRPC.Service
		}
		result, output, err = grpcprobe.New().Probe(ip, service, int(p.GRPC.Port), timeout)
	}
	if err != nil {
		return err.Error(), false
	}
	return output, result == probe.Success || result == probe.Warning
}

// endUnhealthy ends a container whose probe or postStart hook has failed, so that it is restarted if its pod wants that:
// preStop hook, SIGTERM, SIGKILL after the grace period, which a probe may have of its own.
func (c *container) endUnhealthy(process *sandbox.Process, what string, p *corev1.Probe) {
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if own := c.pod.object().Spec.TerminationGracePeriodSeconds; own != nil {
		grace = *own
	}
	if p != nil && p.TerminationGracePeriodSeconds != nil {
		grace = *p.TerminationGracePeriodSeconds
	}
	c.pod.note("Killing", fmt.Sprintf("Container %s failed its %s, and is ended", c.spec.Name, what))
	end := time.Now().Add(time.Duration(grace) * time.Second)
	hook := make(chan struct{})
	go func() {
		defer close(hook)
		c.preStop(process)
	}()
	select {
	case <-hook:
	case <-time.After(time.Until(end)):
	}
	c.send(process, syscall.SIGTERM)
	c.reached(asked)
	select {
	case <-process.Done():
	case <-time.After(max(time.Until(end), minimumTermGrace)):
		c.send(process, syscall.SIGKILL)
	}
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }
