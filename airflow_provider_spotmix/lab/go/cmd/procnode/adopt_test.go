package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"spotmix.io/lab/cmd/procnode/sandbox"
)

// podOnNode is a pod of one container, on a node without API server.
func podOnNode(t *testing.T, policy corev1.RestartPolicy) *pod {
	t.Helper()
	m := &machine{stateDir: t.TempDir(), launcher: &sandbox.Launcher{}, nodes: map[string]*node{}}
	n := &node{machine: m, def: NodeConfig{Name: "n"}, frozen: newEvent(), events: record.NewFakeRecorder(100)}
	obj := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"},
		Spec:       corev1.PodSpec{RestartPolicy: policy, Containers: []corev1.Container{{Name: "main"}}},
	}
	p := newPod(n, obj, "127.1.2.3")
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.removeFiles)
	return p
}

// endOf is the end of a container's attempt.
func endOf(attempt string, code int32) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: code, ContainerID: "procnode://u/main/" + attempt, FinishedAt: metav1.NewTime(time.Unix(1e9, 0)),
	}}
}

func TestContainerGoesOnWhereItWas(t *testing.T) {
	runs := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	exit := &sandbox.Exit{Code: 7, FinishedAt: time.Unix(2e9, 0)}
	for _, c := range []struct {
		name     string
		record   containerRecord
		exit     *sandbox.Exit // of the latest attempt, in the shim's file
		want     string        // the end that is known; "" if an attempt is due
		attempts int
	}{
		{"not begun", containerRecord{State: waiting("ContainerCreating", "")}, nil, "", 0},
		{"ran, ended unwatched", containerRecord{State: runs, Attempts: 1}, exit, "Error 7", 1},
		{"was being started, ended unwatched", containerRecord{State: waiting("ContainerCreating", ""), Attempts: 1}, exit, "Error 7", 1},
		{"was not started after all", containerRecord{State: waiting("ContainerCreating", ""), Attempts: 1}, nil, "", 0},
		{"its end was known", containerRecord{State: endOf("0", 3), Attempts: 1}, nil, " 3", 1},
		{
			"waits for its restart",
			containerRecord{State: waiting(crashLoopBackOff, ""), Last: endOf("1", 3), Attempts: 2, Restarts: 1}, nil, " 3", 2,
		},
		{
			"waits for a config map after its restart",
			containerRecord{State: waiting("CreateContainerConfigError", ""), Last: endOf("1", 3), Attempts: 2, Restarts: 2},
			nil, "", 2,
		},
		{
			"was not started again after all",
			containerRecord{State: endOf("0", 3), Last: endOf("0", 3), Attempts: 2, Restarts: 1}, nil, "", 1,
		},
		{
			"was started again, ended unwatched",
			containerRecord{State: endOf("0", 3), Last: endOf("0", 3), Attempts: 2, Restarts: 1}, exit, "Error 7", 2,
		},
		{
			"did not become its command", containerRecord{State: waiting("ContainerCreating", ""), Attempts: 1},
			&sandbox.Exit{Code: 128, StartError: "no such file"}, "StartError 128", 1,
		},
		{
			"was killed for its memory", containerRecord{State: runs, Attempts: 1, OutOfMemory: true},
			&sandbox.Exit{Code: 137, Signal: 9}, "OOMKilled 137", 1,
		},
		{
			"its shim was killed", containerRecord{State: runs, Attempts: 1},
			&sandbox.Exit{Code: 137, Signal: 9, Lost: true}, "ContainerStatusUnknown 137", 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := podOnNode(t, corev1.RestartPolicyAlways)
			main := p.main[0]
			main.restore(c.record)
			if c.exit != nil {
				writeExit(t, main, c.exit)
			}
			got := ""
			if end := main.resume(); end != nil {
				got = fmt.Sprintf("%s %d", end.Reason, end.ExitCode)
			}
			if got != c.want || main.attempts != c.attempts || main.restarts != c.record.Restarts {
				t.Errorf("end %q, %d attempts, %d restarts", got, main.attempts, main.restarts)
			}
		})
	}
}

func writeExit(t *testing.T, c *container, exit *sandbox.Exit) {
	t.Helper()
	dir := c.dir(c.attempts - 1)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := sandbox.WriteJSON(filepath.Join(dir, "exit.json"), exit); err != nil {
		t.Fatal(err)
	}
}

func TestRecordHoldsWhatAPodIs(t *testing.T) {
	p := podOnNode(t, corev1.RestartPolicyNever)
	p.volumes, p.started = map[string]string{}, time.Unix(1e9, 0).UTC()
	p.failure = &failure{"DeadlineExceeded", "too long"}
	main := p.main[0]
	main.started.set()
	main.restore(containerRecord{
		State: endOf("1", 3), Last: endOf("0", 4), Restarts: 1, Crashes: 2, Attempts: 2, OutOfMemory: true, Ending: asked,
	})
	p.terminate(time.Hour)
	record := p.node.machine.records()[p.dir]
	later := newPod(p.node, p.obj, record.IP)
	later.restore(record)
	left := later.record()
	if off := left.Deadline.Sub(record.Deadline); off.Abs() > time.Minute {
		t.Errorf("the deadline is %s off", off)
	}
	left.uid, left.Deadline = record.uid, record.Deadline
	if !reflect.DeepEqual(left, record) {
		t.Errorf("got  %+v\nwant %+v", left, record)
	}
	if !later.stopping.happened() || later.graceOver.happened() {
		t.Error("it does not stop with what is left of its grace period")
	}
}

func TestGraceBeginsWithTheRequest(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, c := range []struct {
		name        string
		grace       int64
		asked, want time.Duration
	}{
		{"just now", 30, 0, 30 * time.Second},
		{"cut to seconds", 30, 900 * time.Millisecond, 30 * time.Second},
		{"some time ago", 30, 20 * time.Second, 11 * time.Second},
		{"long ago", 30, time.Hour, 0},
		{"none", 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			goes := metav1.NewTime(now.Add(time.Duration(c.grace)*time.Second - c.asked))
			obj := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &goes, DeletionGracePeriodSeconds: &c.grace}}
			if got := graceLeft(obj, now); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestPurgeTakesOnlyWhatItIsToldTo(t *testing.T) {
	p := podOnNode(t, corev1.RestartPolicyNever)
	m := p.node.machine
	p.save()
	unfinished := filepath.Join(m.stateDir, "pods", "without-record")
	if err := os.MkdirAll(unfinished, 0o700); err != nil {
		t.Fatal(err)
	}
	m.purge(func(r podRecord) bool { return r.Node == "" })
	if got := m.records(); len(got) != 1 || got[p.dir].Node != "n" {
		t.Errorf("left %+v", got)
	}
	m.purge(func(r podRecord) bool { return r.uid == p.uid })
	if got := m.records(); len(got) != 0 {
		t.Errorf("left %+v", got)
	}
	p.save() // late, by something that was under way
	if _, err := os.Stat(p.dir); err == nil {
		t.Error("the directory is back")
	}
}

func TestFateOutlivesTheProcess(t *testing.T) {
	m := &machine{stateDir: t.TempDir()}
	for _, fate := range []string{alive, dead, frozen, alive, alive} {
		if err := m.seal("n", fate); err != nil {
			t.Fatal(err)
		}
		if got := (&machine{stateDir: m.stateDir}).fate("n"); got != fate {
			t.Errorf("got %q, want %q", got, fate)
		}
	}
}

func TestHostsFileOfAnEarlierProcessStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte("127.1.2.3 web\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := newHostsFile(path, "127.0.0.1", nil)
	if text, _ := os.ReadFile(path); err != nil || string(text) != "127.1.2.3 web\n" || h.last != string(text) {
		t.Errorf("got %q, %v", text, err)
	}
}
