package main

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func running(name string) containerView {
	return containerView{
		name: name, id: "x", state: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, health: health{true, true},
	}
}

func unhealthy(name string, h health) containerView {
	c := running(name)
	c.health = h
	return c
}

func ended(name string, code int32) containerView {
	return containerView{name: name, id: "x", state: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}}
}

func waits(name, reason string) containerView {
	return containerView{name: name, state: waiting(reason, "")}
}

func crashed(name string) containerView {
	return containerView{name: name, id: "x", state: waiting("CrashLoopBackOff", ""), last: ended(name, 1).state}
}

func aside(c containerView) containerView {
	c.sidecar = true
	return c
}

func TestPhaseAndReadiness(t *testing.T) {
	list := func(views ...containerView) []containerView { return views }
	for _, c := range []struct {
		name  string
		view  podView
		phase corev1.PodPhase
		ready string // status and reason of condition Ready
		init  string // of condition Initialized
	}{
		{"creating", podView{main: list(waits("c", "ContainerCreating"))}, "Pending", "False ContainersNotReady", "True"},
		{"in-init", podView{init: list(running("i")), main: list(waits("c", "PodInitializing"))}, "Pending",
			"False ContainersNotReady", "False ContainersNotInitialized"},
		{"running", podView{init: list(ended("i", 0)), main: list(running("c"))}, "Running", "True", "True"},
		{"not-started", podView{main: list(unhealthy("c", health{}))}, "Running", "False ContainersNotReady", "True"},
		{"not-ready", podView{main: list(unhealthy("c", health{started: true}))}, "Running", "False ContainersNotReady", "True"},
		{"sidecar-not-started", podView{init: list(aside(unhealthy("s", health{}))), main: list(waits("c", "PodInitializing"))},
			"Pending", "False ContainersNotReady", "False ContainersNotInitialized"},
		{"one-of-two-creating", podView{main: list(running("a"), waits("b", "ErrImagePull"))}, "Pending", "False ContainersNotReady", "True"},
		{"one-of-two-ended", podView{main: list(running("a"), ended("b", 0))}, "Running", "False ContainersNotReady", "True"},
		{"waits-for-restart", podView{main: list(crashed("c"))}, "Running", "False ContainersNotReady", "True"},
		{"ended-but-not-decided", podView{main: list(ended("c", 1))}, "Running", "False ContainersNotReady", "True"},
		{"succeeded", podView{over: true, main: list(ended("c", 0))}, "Succeeded", "False PodCompleted", "True PodCompleted"},
		{"failed", podView{over: true, main: list(ended("a", 0), ended("b", 137))}, "Failed", "False PodFailed", "True"},
		{"init-failed", podView{over: true, init: list(ended("i", 1)), main: list(waits("c", "PodInitializing"))}, "Failed",
			"False PodFailed", "False ContainersNotInitialized"},
		{"sidecar-runs", podView{init: list(aside(running("s"))), main: list(waits("c", "PodInitializing"))}, "Pending",
			"False ContainersNotReady", "True"},
		{"sidecar-waits-for-restart", podView{init: list(aside(crashed("s"))), main: list(running("c"))}, "Running",
			"False ContainersNotReady", "True"},
		{"sidecar-fails-at-the-end", podView{over: true, init: list(aside(ended("s", 9))), main: list(ended("c", 0))}, "Succeeded",
			"False PodCompleted", "True PodCompleted"},
		{"deleted-before-start", podView{over: true, main: list(waits("c", "ContainerCreating"))}, "Failed", "False PodFailed", "True"},
		{"failed-by-the-node", podView{failure: &failure{"R", "m"}, main: list(ended("c", 0))}, "Failed", "False PodFailed", "True"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := map[corev1.PodConditionType]string{}
			for _, x := range c.view.conditions() {
				got[x.Type] = string(x.Status)
				if x.Reason != "" {
					got[x.Type] += " " + x.Reason
				}
			}
			if phase := c.view.phase(); phase != c.phase || got["Ready"] != c.ready || got["ContainersReady"] != c.ready || got["Initialized"] != c.init {
				t.Errorf("got %s and %v", phase, got)
			}
		})
	}
}

func TestPatchGuardsTheUIDAndKeepsTransitionTimes(t *testing.T) {
	since := map[corev1.PodConditionType]corev1.PodCondition{}
	v := podView{uid: "u1", generation: 3, ip: "127.1.0.2", hostIP: "127.0.0.9", started: noon, main: []containerView{waits("c", "ContainerCreating")}}
	first := decode(t, v, since, noon)
	v.main = []containerView{running("c")}
	second := decode(t, v, since, noon.Add(time.Minute))
	if first.Metadata.UID != "u1" || second.Status["phase"] != "Running" {
		t.Errorf("got %+v", second)
	}
	times := func(p statusPatch) map[string]any {
		out := map[string]any{}
		for _, c := range p.Status["conditions"].([]any) {
			m := c.(map[string]any)
			out[m["type"].(string)] = []any{m["status"], m["reason"], m["lastTransitionTime"]}
		}
		return out
	}
	want := map[string]any{
		"PodReadyToStartContainers": []any{"True", nil, "2026-01-02T12:00:00Z"},
		"Initialized":               []any{"True", nil, "2026-01-02T12:00:00Z"},
		"ContainersReady":           []any{"True", nil, "2026-01-02T12:01:00Z"}, // the reason is cleared, not left out
		"Ready":                     []any{"True", nil, "2026-01-02T12:01:00Z"},
	}
	if got := times(second); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	ips := []any{map[string]any{"$patch": "replace"}, map[string]any{"ip": "127.1.0.2"}}
	if got := second.Status["podIPs"]; !reflect.DeepEqual(got, ips) {
		t.Errorf("podIPs %v", got)
	}
}

type statusPatch struct {
	Metadata struct{ UID string }
	Status   map[string]any
}

func decode(t *testing.T, v podView, since map[corev1.PodConditionType]corev1.PodCondition, now time.Time) statusPatch {
	t.Helper()
	raw, err := v.patch(since, now)
	var out statusPatch
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRestarts(t *testing.T) {
	for _, c := range []struct {
		policy corev1.RestartPolicy
		init   bool
		exit   int32
		want   bool
		name   string
	}{
		{corev1.RestartPolicyNever, false, 1, false, "never"},
		{corev1.RestartPolicyOnFailure, false, 1, true, "on-failure-after-failure"},
		{corev1.RestartPolicyOnFailure, false, 0, false, "on-failure-after-success"},
		{corev1.RestartPolicyAlways, false, 0, true, "always-after-success"},
		{corev1.RestartPolicyAlways, true, 0, false, "init-succeeds-once"},
		{corev1.RestartPolicyAlways, true, 1, true, "init-is-repeated"},
		{corev1.RestartPolicyNever, true, 1, false, "init-never"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := restartable(c.policy, c.init, c.exit); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
	delays := []time.Duration{}
	for n := range int32(8) {
		delays = append(delays, backOff(n)/time.Second)
	}
	if want := []time.Duration{0, 10, 20, 40, 80, 160, 300, 300}; !reflect.DeepEqual(delays, want) {
		t.Errorf("delays %v", delays)
	}
}

func TestLostPod(t *testing.T) {
	p := testPod(t, corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}, {Name: "b"}}})
	p.obj.Status = corev1.PodStatus{StartTime: &metav1.Time{Time: noon}, ContainerStatuses: []corev1.ContainerStatus{
		{Name: "a", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon)}}, RestartCount: 2},
		{Name: "b", State: ended("b", 0).state},
	}}
	if !hasRun(p.obj) {
		t.Error("a pod with a running container has run")
	}
	p.lose(noon.Add(time.Hour))
	p.ended.set()
	v := p.view()
	if v.phase() != corev1.PodFailed || v.failure.reason != "NodeRestarted" || v.started != noon {
		t.Errorf("got %+v", v)
	}
	a := v.main[0]
	if a.state.Terminated == nil || a.state.Terminated.ExitCode != 137 || a.restarts != 2 || v.main[1].state.Terminated.ExitCode != 0 {
		t.Errorf("got %+v", v.main)
	}
	if hasRun(&corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: waiting("ContainerCreating", "")}}}}) {
		t.Error("a pod whose containers wait has not run")
	}
}

func TestAddressesAreUsedAgainAsLateAsPossible(t *testing.T) {
	pool := ipPool{net: "127.1.0", used: map[string]bool{}}
	first, _ := pool.take()
	pool.give(first)
	second, _ := pool.take()
	if first != "127.1.0.2" || second != "127.1.0.3" {
		t.Errorf("got %s, then %s", first, second)
	}
	for range 252 {
		if _, ok := pool.take(); !ok {
			t.Fatal("the pool is empty too soon")
		}
	}
	if ip, ok := pool.take(); ok {
		t.Errorf("got %s from an empty pool", ip)
	}
}
