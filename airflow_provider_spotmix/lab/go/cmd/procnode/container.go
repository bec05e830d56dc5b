package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"spotmix.io/lab/cmd/procnode/sandbox"
)

// The kubelet's times: the delay before a restart doubles from the first to the last, and starts anew after a long run.
const (
	firstBackOff   = 10 * time.Second
	lastBackOff    = 5 * time.Minute
	goodRun        = 10 * time.Minute
	configInterval = 300 * time.Millisecond // between tries to start what lacks a config map or the like
)

// crashLoopBackOff is the reason for which a container waits for a later restart than its first.
const crashLoopBackOff = "CrashLoopBackOff"

// maxTerminationMessage is how much of a termination message the API keeps, in bytes.
const maxTerminationMessage = 4096

// container is one container of a pod, through all its restarts. The fields below pod are guarded by pod.mu.
type container struct {
	spec corev1.Container
	init bool
	pod  *pod

	started *event // for the first time
	turn    *event // a sidecar's: nothing that may need it runs any more
	over    *event // a sidecar's: it has ended for good

	state, last corev1.ContainerState
	restarts    int32
	attempts    int   // starts that were tried; names the log file
	crashes     int32 // restarts since the last long run; they make the next one wait
	process     *sandbox.Process
	outOfMemory bool          // the current attempt was ended for that
	ending      ending        // how far its end has been asked for
	health      health        // of the current attempt
	ended       chan struct{} // closed when the current attempt and its log are over; nil before the first
}

func newContainer(p *pod, spec corev1.Container, init bool, state corev1.ContainerState) *container {
	return &container{
		spec: spec, init: init, pod: p, state: state, started: newEvent(), turn: newEvent(), over: newEvent(),
	}
}

// sidecar: an init container that goes on beside the others.
func (c *container) sidecar() bool {
	return c.init && c.spec.RestartPolicy != nil && *c.spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// restartable tells whether the container starts again after it ended with exit.
func (c *container) restartable(exit int32) bool {
	return c.sidecar() || restartable(c.pod.object().Spec.RestartPolicy, c.init, exit)
}

// waitReason is an error with the reason that the API shows while a container waits for it to go away.
type waitReason struct {
	reason string
	err    error
}

func (w *waitReason) Error() string { return w.err.Error() }
func (w *waitReason) Unwrap() error { return w.err }

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// restartable tells whether a container that ended with exit starts again.
func restartable(policy corev1.RestartPolicy, init bool, exit int32) bool {
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return exit != 0
	}
	return !init || exit != 0
}

// backOff is how long the n-th restart waits (n from 0): the first does not.
func backOff(n int32) time.Duration {
	if n == 0 {
		return 0
	}
	return min(firstBackOff<<min(n-1, 10), lastBackOff)
}

// supervise runs the container until it has ended for good, and reports whether it ended with success.
func (c *container) supervise(ctx context.Context, volumes map[string]string) bool {
	end := c.resume()
	for {
		if end == nil {
			end = c.attempt(ctx, volumes)
		}
		if end == nil {
			return false
		}
		if c.pod.stopping.happened() || !c.restartable(end.ExitCode) {
			return end.ExitCode == 0
		}
		if !c.waitRestart(end) {
			return false
		}
		end = nil
	}
}

// waitRestart shows why the container does not run; false if the pod is to stop.
func (c *container) waitRestart(end *corev1.ContainerStateTerminated) bool {
	if end.FinishedAt.Sub(end.StartedAt.Time) > goodRun {
		c.crashes = 0
	}
	delay := backOff(c.crashes)
	ended := corev1.ContainerState{Terminated: end}
	if delay > 0 {
		c.set(waiting(crashLoopBackOff, fmt.Sprintf("back-off %s restarting container %s", delay, c.spec.Name)), ended)
		c.pod.warn("BackOff", fmt.Sprintf("Container %s ended with %d; restart in %s", c.spec.Name, end.ExitCode, delay))
	}
	select {
	case <-c.pod.stopping.done():
		c.set(ended, corev1.ContainerState{})
		return false
	case <-time.After(time.Until(end.FinishedAt.Add(delay))):
	}
	c.pod.mu.Lock()
	c.last = ended
	c.restarts++
	c.crashes++
	c.pod.mu.Unlock()
	return true
}

func (c *container) set(state, last corev1.ContainerState) {
	c.pod.mu.Lock()
	c.state, c.last = state, last
	c.pod.mu.Unlock()
	c.pod.changed()
}

// attempt starts the container and waits until it has ended; nil if the pod stopped before it could start.
func (c *container) attempt(ctx context.Context, volumes map[string]string) *corev1.ContainerStateTerminated {
	warned := ""
	for !c.pod.stopping.happened() {
		if c.pod.node.frozen.happened() {
			<-c.pod.stopping.done()
			return nil
		}
		err := c.start(ctx, volumes)
		var wait *waitReason
		if !errors.As(err, &wait) {
			return c.finish(err)
		}
		if wait.Error() != warned {
			warned = wait.Error()
			c.pod.warn("Failed", fmt.Sprintf("Container %s: %s: %s", c.spec.Name, wait.reason, warned))
			c.set(waiting(wait.reason, warned), c.last)
		}
		select {
		case <-c.pod.stopping.done():
		case <-time.After(configInterval):
		}
	}
	return nil
}

// finish waits for the end of what start began; startErr means that it did not become its command.
func (c *container) finish(startErr error) *corev1.ContainerStateTerminated {
	end := &corev1.ContainerStateTerminated{StartedAt: metav1.Now(), ContainerID: c.id()}
	if startErr != nil {
		end.ExitCode, end.Reason, end.Message, end.FinishedAt = 128, "StartError", startErr.Error(), metav1.Now()
		c.pod.warn("Failed", fmt.Sprintf("Container %s did not start: %v", c.spec.Name, startErr))
	} else {
		end.StartedAt = c.startedAt()
		select {
		case <-c.process.Done():
		case <-c.pod.stopping.done():
			c.shutDown(c.process)
		}
		exit := c.process.Wait()
		end.ExitCode, end.Signal, end.FinishedAt = int32(exit.Code), int32(exit.Signal), metav1.NewTime(exit.FinishedAt)
		end.Reason, end.Message = c.exitReason(exit), c.exitMessage(exit)
		if exit.OutOfMemory {
			c.pod.warn("OOMKilling", fmt.Sprintf("Container %s needed more memory than its limit of %s",
				c.spec.Name, c.spec.Resources.Limits.Memory()))
		}
		slog.Info("container ended", "node", c.pod.node.def.Name, "pod", c.pod.key(), "container", c.spec.Name, "exit", exit.Code)
	}
	c.pod.mu.Lock()
	c.state, c.process = corev1.ContainerState{Terminated: end}, nil
	if c.ended != nil && !closed(c.ended) {
		close(c.ended)
	}
	c.pod.mu.Unlock()
	c.pod.changed()
	return end
}

func (c *container) exitReason(exit sandbox.Exit) string {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	switch {
	case exit.Lost:
		return "ContainerStatusUnknown"
	case exit.Code == 0:
		return "Completed"
	case exit.OutOfMemory, c.outOfMemory && exit.Signal == syscall.SIGKILL:
		return "OOMKilled"
	}
	return "Error"
}

func (c *container) startedAt() metav1.Time {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.state.Running == nil {
		return metav1.Now()
	}
	return c.state.Running.StartedAt
}

// id identifies the attempt; empty before the first.
func (c *container) id() string {
	if c.attempts == 0 {
		return ""
	}
	return fmt.Sprintf("procnode://%s/%s/%d", c.pod.uid, c.spec.Name, c.attempts-1)
}

// start prepares one attempt and starts it: a waitReason if it may be tried again, another error if it cannot run.
func (c *container) start(ctx context.Context, volumes map[string]string) error {
	p := c.pod
	im, err := p.node.machine.cfg.image(c.spec.Image)
	if err != nil {
		return &waitReason{"ErrImagePull", err}
	}
	env, err := p.environment(ctx, &c.spec, im)
	if err != nil {
		return &waitReason{"CreateContainerConfigError", err}
	}
	args := command(&c.spec, im, env)
	if len(args) == 0 {
		return &waitReason{"CreateContainerError", errors.New("neither the container nor its image names a command")}
	}
	rights, err := rightsOf(p.object(), &c.spec)
	if err != nil {
		return &waitReason{"CreateContainerConfigError", err}
	}
	own, root, err := p.prepareOwn(c.dir(c.attempts), rights)
	if err != nil {
		return &waitReason{"CreateContainerError", err}
	}
	mounts, err := planMounts(&c.spec, im, own, volumes, env)
	if err != nil {
		return &waitReason{"CreateContainerConfigError", err}
	}
	workdir := c.spec.WorkingDir
	if workdir == "" {
		workdir = im.Workdir
	}
	return c.launch(sandbox.Spec{
		Hostname: p.hostname(), Root: root, Mounts: mounts, Dir: workdir, Args: args, Env: sortedEnv(env),
		MemoryLimit: c.spec.Resources.Limits.Memory().Value(), User: rights.user, ReadOnlyRoot: rights.readOnlyRoot, NoNewPrivileges: rights.noNewPrivileges,
	})
}

// command is the process to run, with the API's rules for what a container and its image say.
func command(c *corev1.Container, im *Image, env map[string]string) []string {
	args := expandAll(c.Args, env)
	if len(c.Command) > 0 {
		return append(expandAll(c.Command, env), args...)
	}
	if len(args) == 0 {
		args = im.Cmd
	}
	return append(append([]string{}, im.Entrypoint...), args...)
}

// launch starts the process with its log. From here on the attempt counts.
func (c *container) launch(spec sandbox.Spec) error {
	p := c.pod
	keep := sandbox.Keep{Dir: c.dir(c.attempts), Log: p.logPath(c.spec.Name, c.attempts)}
	p.mu.Lock()
	c.attempts, c.ended = c.attempts+1, make(chan struct{})
	c.outOfMemory, c.ending, c.health = false, notAsked, untested(&c.spec)
	p.mu.Unlock()
	p.save() // before there is anything that a later process would not know of
	process, err := p.node.machine.launcher.Start(spec, keep)
	if err != nil {
		return err
	}
	p.note("Started", fmt.Sprintf("Started container %s", c.spec.Name))
	hookErr := c.postStart(process) // until it is done, the container does not count as running
	c.running(process)
	if hookErr != nil {
		go c.endUnhealthy(process, "postStart hook", nil)
	}
	return nil
}

// running takes in a process that this or an earlier process of the node has started; it may have ended.
func (c *container) running(process *sandbox.Process) {
	p := c.pod
	p.mu.Lock()
	c.process = process
	c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(process.StartedAt())}}
	p.mu.Unlock()
	if c.spec.StartupProbe == nil {
		c.started.set()
	}
	go c.probe(process)
	p.node.freezeLate(process)
	p.changed()
	slog.Info("container runs", "node", p.node.def.Name, "pod", p.key(), "container", c.spec.Name, "pid", process.PID())
}

// dir holds what belongs to one attempt alone.
func (c *container) dir(attempt int) string {
	return filepath.Join(c.pod.dir, "containers", c.spec.Name, strconv.Itoa(attempt))
}

// prepareOwn makes the files and directories of one attempt; each starts with fresh ones, as a new container does.
func (p *pod) prepareOwn(dir string, r rights) (ownFiles, string, error) {
	own := ownFiles{
		hosts: p.node.machine.hosts.path, hostname: filepath.Join(dir, "hostname"),
		terminationLog: filepath.Join(dir, "termination-log"),
	}
	root := filepath.Join(dir, "root")
	err := errors.Join(
		makeDir(dir, 0o755), makeDir(root, 0o755),
		os.WriteFile(own.hostname, []byte(p.hostname()+"\n"), 0o644),
		os.WriteFile(own.terminationLog, nil, 0o666),
	)
	if !r.readOnlyRoot { // of which /tmp is a part
		own.tmp = filepath.Join(dir, "tmp")
		err = errors.Join(err, makeDir(own.tmp, 0o777|os.ModeSticky))
	}
	users, failed := r.users()
	if users != nil {
		own.passwd = filepath.Join(dir, "passwd")
		failed = os.WriteFile(own.passwd, users, 0o644)
	}
	return own, root, errors.Join(err, failed)
}

func (c *container) exitMessage(exit sandbox.Exit) string {
	if exit.Lost {
		return "ended unobserved"
	}
	return c.terminationMessage(exit.Code)
}

// terminationMessage is what the container left at terminationMessagePath, else, where it asks for that, its log's end.
func (c *container) terminationMessage(exit int) string {
	text, err := os.ReadFile(filepath.Join(c.dir(c.attempts-1), "termination-log"))
	if err == nil && len(text) > 0 {
		return string(text[:min(len(text), maxTerminationMessage)])
	}
	if c.spec.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError || exit == 0 {
		return ""
	}
	return logTail(c.pod.logPath(c.spec.Name, c.attempts-1))
}
