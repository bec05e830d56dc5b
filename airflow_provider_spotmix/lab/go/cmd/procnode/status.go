package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// podView is all that a pod's status is made of: rendering it is pure.
type podView struct {
	uid        types.UID
	generation int64
	ip, hostIP string
	started    time.Time
	over       bool     // no container runs, and none will
	failure    *failure // the node failed the pod, whatever its containers did
	gates      []string // conditions that the pod waits for, and that nobody has set to true
	init, main []containerView
}

type failure struct{ reason, message string }

type containerView struct {
	name, image, id string
	state, last     corev1.ContainerState
	restarts        int32
	sidecar         bool
	health          health
}

func (c containerView) started() bool { return c.state.Running != nil && c.health.started }
func (c containerView) ready() bool   { return c.state.Running != nil && c.health.ready }

// done: what comes after this init container may start.
func (c containerView) done() bool {
	if c.sidecar {
		return c.started()
	}
	return c.state.Terminated != nil && c.state.Terminated.ExitCode == 0
}

// begun: it has been started, now or before.
func (c containerView) begun() bool { return c.state.Waiting == nil || c.last.Terminated != nil }

// phase follows the pod lifecycle as the API documents it.
func (v podView) phase() corev1.PodPhase {
	switch {
	case v.failure != nil:
		return corev1.PodFailed
	case v.over && v.succeeded():
		return corev1.PodSucceeded
	case v.over:
		return corev1.PodFailed
	case !v.initialized() || v.starting():
		return corev1.PodPending
	}
	return corev1.PodRunning
}

func (v podView) succeeded() bool {
	for _, c := range v.main {
		if c.state.Terminated == nil || c.state.Terminated.ExitCode != 0 {
			return false
		}
	}
	return v.initialized()
}

// initialized: a sidecar that is down for a moment does not undo it.
func (v podView) initialized() bool {
	if slices.ContainsFunc(v.main, containerView.begun) {
		return true
	}
	for _, c := range v.init {
		if !c.done() {
			return false
		}
	}
	return true
}

// starting: a container that waits for its first start holds the pod in Pending; one that waits for a restart does not.
func (v podView) starting() bool {
	for _, c := range v.main {
		if c.state.Waiting != nil && c.last.Terminated == nil {
			return true
		}
	}
	return false
}

func (v podView) unready() []string {
	names := []string{}
	for _, c := range v.init {
		if c.sidecar && !c.ready() {
			names = append(names, c.name)
		}
	}
	for _, c := range v.main {
		if !c.ready() {
			names = append(names, c.name)
		}
	}
	return names
}

// closedGates are the conditions that others are to set before the pod counts as ready.
// https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-readiness-gate
func closedGates(obj *corev1.Pod) []string {
	closed := []string{}
	for _, gate := range obj.Spec.ReadinessGates {
		open := slices.ContainsFunc(obj.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == gate.ConditionType && c.Status == corev1.ConditionTrue
		})
		if !open {
			closed = append(closed, string(gate.ConditionType))
		}
	}
	return closed
}

func (v podView) conditions() []corev1.PodCondition {
	phase := v.phase()
	initialized := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if !v.initialized() {
		initialized = corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionFalse, Reason: "ContainersNotInitialized"}
	} else if phase == corev1.PodSucceeded {
		initialized.Reason = "PodCompleted"
	}
	ready := corev1.PodCondition{Status: corev1.ConditionFalse}
	names := v.unready()
	switch {
	case phase == corev1.PodSucceeded:
		ready.Reason = "PodCompleted"
	case phase == corev1.PodFailed:
		ready.Reason = "PodFailed"
	case len(names) > 0:
		ready.Reason = "ContainersNotReady"
		ready.Message = fmt.Sprintf("containers with unready status: [%s]", strings.Join(names, " "))
	default:
		ready.Status = corev1.ConditionTrue
	}
	podReady, containersReady := ready, ready
	if ready.Status == corev1.ConditionTrue && len(v.gates) > 0 {
		podReady = corev1.PodCondition{
			Status: corev1.ConditionFalse, Reason: "ReadinessGatesNotReady",
			Message: fmt.Sprintf("readiness gates that are not true: [%s]", strings.Join(v.gates, " ")),
		}
	}
	podReady.Type, containersReady.Type = corev1.PodReady, corev1.ContainersReady
	sandbox := corev1.PodCondition{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue}
	if v.over || v.failure != nil {
		sandbox.Status = corev1.ConditionFalse
	}
	return []corev1.PodCondition{sandbox, initialized, containersReady, podReady}
}

// containerStatuses follows the kubelet in that an init container is ready once it has succeeded.
func containerStatuses(views []containerView, init bool) []corev1.ContainerStatus {
	out := make([]corev1.ContainerStatus, 0, len(views))
	for _, c := range views {
		started := c.started()
		ready := c.ready() || init && !c.sidecar && c.done()
		s := corev1.ContainerStatus{
			Name: c.name, Image: c.image, ImageID: imageID(c), ContainerID: c.id, State: c.state, LastTerminationState: c.last,
			RestartCount: c.restarts, Ready: ready, Started: &started,
		}
		out = append(out, s)
	}
	return out
}

func imageID(c containerView) string {
	if c.id == "" {
		return ""
	}
	return "procnode://" + c.image
}

// patch is the strategic merge patch of the pod's status. The uid guards a later pod of the same name; fields and
// conditions that others write stay. since keeps each condition's last transition; it is updated.
func (v podView) patch(since map[corev1.PodConditionType]corev1.PodCondition, now time.Time) ([]byte, error) {
	conditions := []map[string]any{}
	for _, c := range v.conditions() {
		if old, ok := since[c.Type]; ok && old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		} else {
			c.LastTransitionTime = metav1.NewTime(now)
		}
		since[c.Type] = c
		conditions = append(conditions, map[string]any{
			"type": c.Type, "status": c.Status, "lastTransitionTime": c.LastTransitionTime,
			"reason": orNull(c.Reason), "message": orNull(c.Message), // a merge keeps what is not mentioned
			"observedGeneration": v.generation,
		})
	}
	status := map[string]any{
		"phase": v.phase(), "conditions": conditions, "startTime": metav1.NewTime(v.started), "observedGeneration": v.generation,
		"hostIP": v.hostIP, "hostIPs": replaced(corev1.HostIP{IP: v.hostIP}),
		"containerStatuses": containerStatuses(v.main, false),
	}
	if v.ip != "" {
		status["podIP"], status["podIPs"] = v.ip, replaced(corev1.PodIP{IP: v.ip})
	}
	if len(v.init) > 0 {
		status["initContainerStatuses"] = containerStatuses(v.init, true)
	}
	if v.failure != nil {
		status["reason"], status["message"] = v.failure.reason, v.failure.message
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"uid": v.uid}, "status": status})
}

// replaced is a list that a strategic merge puts in place of the old one, instead of merging the two.
func replaced(items ...any) []any {
	return append([]any{map[string]string{"$patch": "replace"}}, items...)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// lostStates are the states of containers that an earlier process ran: what ran then has ended without our knowing how.
func lostState(s corev1.ContainerState, now time.Time) corev1.ContainerState {
	if s.Running == nil {
		return s
	}
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: 137, Reason: "ContainerStatusUnknown", Message: "ended together with the node's process, unobserved",
		StartedAt: s.Running.StartedAt, FinishedAt: metav1.NewTime(now),
	}}
}

func terminal(phase corev1.PodPhase) bool {
	return phase == corev1.PodSucceeded || phase == corev1.PodFailed
}
