package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// childName is argv[0] of a container's first process until it becomes the command.
const childName = "procnode-container"

// The file descriptors of the first process: [exec.Cmd.ExtraFiles] start at 3.
const (
	specFD  = 3
	errorFD = 4
)

// outputDelay bounds the wait for output that somebody outside the container still holds open after its end.
const outputDelay = 2 * time.Second

// Launcher starts containers. The zero value is not usable; see [NewLauncher].
type Launcher struct {
	rootless bool
	nsenter  string
	work     chan func()
}

// StartError tells why a container could not become its command.
type StartError struct{ Message string }

func (e *StartError) Error() string { return e.Message }

// Exit is how a container ended.
type Exit struct {
	Code   int            // as a shell tells it: 128 + signal where a signal ended it
	Signal syscall.Signal // 0 if it ended by itself
}

// Process is a started container.
type Process struct {
	launcher *Launcher
	cmd      *exec.Cmd
	env      []string
	done     chan struct{}

	namespace string
	exit      Exit
}

// NewLauncher finds out how this machine lets us make containers, by making one below scratch, a writable directory.
// The error, where it does not, names what to change.
func NewLauncher(scratch string) (*Launcher, error) {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return nil, fmt.Errorf("no program nsenter in PATH (for exec and preStop hooks): install util-linux: %w", err)
	}
	l := &Launcher{nsenter: nsenter, work: make(chan func())}
	// The kernel ties the parent-death signal to the *thread* that forked: all forks come from one that never ends.
	go func() {
		runtime.LockOSThread()
		for f := range l.work {
			f()
		}
	}()
	first := error(nil)
	for _, rootless := range modes(os.Geteuid()) {
		l.rootless = rootless
		err := l.try(scratch)
		if err == nil {
			return l, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, fmt.Errorf("this machine does not let uid %d make containers: %w\n%s", os.Geteuid(), first, remedy)
}

const remedy = `Remedy, one of:
  - run as root (in a container: with the capability SYS_ADMIN, for example docker run --privileged);
  - allow user namespaces: sysctl user.max_user_namespaces=15000, kernel.unprivileged_userns_clone=1 (older Debian),
    kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu 23.10 and later);
  - use a cluster of your own instead of the lab: set KUBECONFIG.`

// modes lists what to try: root without the capability to mount (in a container) may still have user namespaces.
func modes(uid int) []bool {
	if uid == 0 {
		return []bool{false, true}
	}
	return []bool{true}
}

func (l *Launcher) try(scratch string) error {
	root, err := os.MkdirTemp(scratch, "try-")
	if err != nil {
		return err
	}
	defer os.Remove(root)
	p, err := l.Start(Spec{Hostname: "try", Root: root, Mounts: Base()})
	if err != nil {
		return err
	}
	if e := p.Wait(); e.Code != 0 {
		return fmt.Errorf("a trial container ended with %d", e.Code)
	}
	return nil
}

// Rootless reports whether containers get a user namespace, in which the caller's user appears as root.
func (l *Launcher) Rootless() bool { return l.rootless }

func (l *Launcher) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Setsid:     true,
		Pdeathsig:  syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if l.rootless {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return a
}

// Start makes a container and returns once its command runs; a [StartError] if it cannot.
func (l *Launcher) Start(s Spec) (*Process, error) {
	plan, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	specR, specW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errorR, errorW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, specR.Close(), specW.Close())
	}
	defer errorR.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{childName}
	cmd.Env = []string{}
	cmd.Stdout, cmd.Stderr = s.Stdout, s.Stderr
	cmd.ExtraFiles = []*os.File{specR, errorW}
	cmd.SysProcAttr = l.attributes()
	cmd.WaitDelay = outputDelay
	started := make(chan error)
	l.work <- func() { started <- cmd.Start() }
	err = <-started
	specR.Close()
	errorW.Close()
	if err != nil {
		specW.Close()
		return nil, fmt.Errorf("make namespaces: %w", err)
	}
	_, writeErr := specW.Write(plan)
	specW.Close()
	message, _ := io.ReadAll(errorR) // ends when the first process becomes the command, or ends
	// Before anybody reaps it: until then its number is no other's.
	p := &Process{launcher: l, cmd: cmd, env: s.Env, done: make(chan struct{}), namespace: namespaceOf(cmd.Process.Pid)}
	go p.reap()
	if writeErr != nil || len(message) > 0 {
		p.Signal(syscall.SIGKILL)
		p.Wait()
		if len(message) == 0 {
			return nil, fmt.Errorf("hand over the plan: %w", writeErr)
		}
		return nil, &StartError{Message: string(message)}
	}
	return p, nil
}

func (p *Process) reap() {
	defer close(p.done)
	err := p.cmd.Wait()
	state := p.cmd.ProcessState
	if state == nil {
		p.exit = Exit{Code: 255}
		fmt.Fprintf(os.Stderr, "wait for pid %d: %v\n", p.cmd.Process.Pid, err)
		return
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		p.exit = Exit{Code: 128 + int(ws.Signal()), Signal: ws.Signal()}
		return
	}
	p.exit = Exit{Code: state.ExitCode()}
}

// PID is the container's first process, seen from the host.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when every process of the container has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns how the container ended, when it has.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

// Signal sends a signal to the first process. SIGKILL ends the whole container; other signals reach the first process
// only if it handles them, as in every container. It does nothing if the container has ended.
func (p *Process) Signal(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s) // the only error is that it has ended
}

// Enter is a command that runs inside the container, with its environment, not started yet. Canceling ctx kills
// nsenter and, because it holds the terminal group, what nsenter started.
func (p *Process) Enter(ctx context.Context, args ...string) *exec.Cmd {
	flags := []string{"--target", strconv.Itoa(p.PID()), "--mount", "--pid", "--uts", "--ipc", "--root", "--wd"}
	if p.launcher.rootless {
		flags = append(flags, "--user", "--preserve-credentials")
	}
	cmd := exec.CommandContext(ctx, p.launcher.nsenter, append(append(flags, "--"), args...)...)
	cmd.Env = p.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = outputDelay
	return cmd
}
