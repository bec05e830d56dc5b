package main

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A pod ends by itself in two ways that need its node: past its deadline, and when only sidecars are left.

// endSidecars ends the sidecars once everything else has ended, the one that started last first.
func (p *pod) endSidecars(sidecars []*container) {
	if len(sidecars) == 0 {
		return
	}
	p.terminate(p.ownGrace())
	for _, c := range slices.Backward(sidecars) {
		c.turn.set()
		<-c.over.done()
	}
}

// failed tells whether the node has failed the pod, whatever its containers did.
func (p *pod) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure != nil
}

// startDeadline ends the pod when it has been active for longer than it may; it returns what stops that.
func (p *pod) startDeadline() func() {
	seconds := p.object().Spec.ActiveDeadlineSeconds
	if seconds == nil || p.failed() {
		return func() {}
	}
	limit := time.Until(p.started.Add(time.Duration(*seconds) * time.Second))
	timer := time.AfterFunc(limit, func() {
		p.mu.Lock()
		p.failure = &failure{"DeadlineExceeded", "Pod was active on the node longer than the specified deadline"}
		p.mu.Unlock()
		p.terminate(p.ownGrace())
	})
	return func() { timer.Stop() }
}

// ownGrace is the grace period that the pod itself asks for.
func (p *pod) ownGrace() time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if s := p.object().Spec.TerminationGracePeriodSeconds; s != nil {
		seconds = *s
	}
	return time.Duration(seconds) * time.Second
}
