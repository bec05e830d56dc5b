package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Keep is where a container's shim keeps what must not be lost with the process that asked for the container.
type Keep struct {
	Dir string `json:"dir"` // an existing directory of this container alone
	Log string `json:"log"` // the log file; it and its directory are made
}

// StartError tells why a container could not become its command.
type StartError struct{ Message string }

func (e *StartError) Error() string { return e.Message }

// startErrorCode is the exit code that container runtimes use for a container that did not start.
const startErrorCode = 128

// ErrNeverStarted says that there was no container.
var ErrNeverStarted = errors.New("no container was started")

// adoptInterval is how often a shim that is being started is looked at.
const adoptInterval = 5 * time.Millisecond

// Exit is how a container ended.
type Exit struct {
	Code       int            `json:"code"`   // as a shell tells it: 128 + signal where a signal ended it
	Signal     syscall.Signal `json:"signal"` // 0 if it ended by itself
	FinishedAt time.Time      `json:"finishedAt"`
	StartError string         `json:"startError,omitempty"` // why it did not become its command

	OutOfMemory bool `json:"outOfMemory,omitempty"` // the kernel ended it because it needed more than its limit
	Lost        bool `json:"lost,omitempty"`        // nobody saw the end; code and signal are a guess
}

// Process is a container. Its parent is a shim, which outlives this process if this process's parent does.
type Process struct {
	launcher *Launcher
	keep     string
	running  running
	first    *os.File // pidfd of the first process; nil if that had ended when we looked
	done     chan struct{}
	exit     Exit
}

// Start makes a container and returns once its command runs; a [StartError] if it cannot.
func (l *Launcher) Start(s Spec, k Keep) (*Process, error) {
	plan, err := json.Marshal(shimPlan{Spec: s, Keep: k, Rootless: l.rootless, Parent: os.Getpid(), Keeper: os.Getppid()})
	if err != nil {
		return nil, err
	}
	lock, err := lockShim(k.Dir)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{shimName}
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: orphaned}
	message, err := forkWithInput(cmd, plan, l.fork, lock)
	lock.Close()
	if cmd.Process != nil {
		go func() { _ = cmd.Wait() }() // leave no zombie; how the container ended is in a file
	}
	if message != "" {
		err = errors.New(message)
	}
	if err != nil {
		return nil, fmt.Errorf("start a shim: %w", err)
	}
	p, err := l.Adopt(k.Dir)
	if err != nil {
		return nil, err
	}
	return p, p.StartError()
}

// lockShim makes the lock that a shim inherits and that the kernel lets go of when the shim ends.
func lockShim(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	return f, nil
}

// shimLives tells whether the shim of a directory is there. What it has written is final once it is not.
func shimLives(dir string) bool {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// Adopt finds the container that was started with a [Keep] directory, by this process or by an earlier one, and waits if
// it is just being started. It may have ended; [ErrNeverStarted] if it never ran.
func (l *Launcher) Adopt(dir string) (*Process, error) {
	p := &Process{launcher: l, keep: dir, done: make(chan struct{})}
	for shimLives(dir) {
		if ReadJSON(filepath.Join(dir, runningFile), &p.running) != nil {
			time.Sleep(adoptInterval)
			continue
		}
		shim, err := openPID(p.running.Shim)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return nil, fmt.Errorf("open the shim's process: %w", err)
		}
		if err != nil || !shimLives(dir) { // only if it lives now, its number was its own until now
			continue
		}
		p.first = p.openFirst()
		go func() {
			awaitEnd(shim)
			p.end()
		}()
		return p, nil
	}
	if ReadJSON(filepath.Join(dir, runningFile), &p.running) != nil && ReadJSON(filepath.Join(dir, exitFile), &p.exit) != nil {
		return nil, fmt.Errorf("%w in %s", ErrNeverStarted, dir)
	}
	p.end()
	return p, nil
}

// openPID opens a process by its number. The descriptor stays that process's, whoever gets the number next.
func openPID(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that no thread waits for its end
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "process "+strconv.Itoa(pid)), nil
}

// openFirst opens the container's first process, unless it has ended.
func (p *Process) openFirst() *os.File {
	first, err := openPID(p.running.PID)
	if err != nil {
		return nil
	}
	if ns := namespaceOf(p.running.PID); ns == "" || ns != p.running.Namespace { // it has ended; another has its number
		first.Close()
		return nil
	}
	return first
}

// awaitEnd returns when the process has ended, and closes its descriptor.
func awaitEnd(process *os.File) {
	defer process.Close()
	raw, err := process.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
}

// end takes over what the shim wrote last.
func (p *Process) end() {
	if err := ReadJSON(filepath.Join(p.keep, exitFile), &p.exit); err != nil {
		p.exit = Exit{Code: signalBase + int(syscall.SIGKILL), Signal: syscall.SIGKILL, FinishedAt: time.Now(), Lost: true}
	}
	if p.first != nil {
		p.first.Close()
	}
	close(p.done)
}

// PID is the container's first process, seen from the host.
func (p *Process) PID() int { return p.running.PID }

// Namespace is the container's pid namespace, in which every one of its processes is, those of hooks too.
func (p *Process) Namespace() string { return p.running.Namespace }

// StartedAt is when the command began to run.
func (p *Process) StartedAt() time.Time { return p.running.StartedAt }

// Done is closed when every process of the container has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait returns how the container ended, when it has.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

// StartError is a [StartError] if the container ended because it could not become its command.
func (p *Process) StartError() error {
	if !closed(p.done) || p.exit.StartError == "" {
		return nil
	}
	return &StartError{Message: p.exit.StartError}
}

// Signal sends a signal to the first process. SIGKILL ends the whole container; other signals reach the first process
// only if it handles them, as in every container. It does nothing if the container has ended.
func (p *Process) Signal(s syscall.Signal) {
	if p.first == nil {
		return
	}
	raw, err := p.first.SyscallConn()
	if err != nil {
		return
	}
	// The only errors are that it has ended.
	_ = raw.Control(func(fd uintptr) { _ = unix.PidfdSendSignal(int(fd), s, nil, 0) })
}

// Enter is a command that runs inside the container, with its environment, not started yet. Canceling ctx kills
// nsenter and, because it holds the terminal group, what nsenter started.
func (p *Process) Enter(ctx context.Context, args ...string) *exec.Cmd {
	flags := []string{"--target", strconv.Itoa(p.PID()), "--mount", "--pid", "--uts", "--ipc", "--root", "--wd"}
	if p.running.UserSpace {
		flags = append(flags, "--user", "--preserve-credentials")
	}
	cmd := exec.CommandContext(ctx, p.launcher.nsenter, append(append(flags, "--"), args...)...)
	cmd.Env = p.running.Env
	if p.first == nil || closed(p.done) {
		cmd.Err = errors.New("the container has ended")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = outputDelay
	return cmd
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
