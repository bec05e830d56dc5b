package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childName is argv[0] of a container's first process until it becomes the command.
const childName = "procnode-container"

// The file descriptors of a process that forkWithInput starts: [exec.Cmd.ExtraFiles] begin at 3.
const (
	inputFD   = 3
	messageFD = 4
)

// outputDelay bounds the wait for output that somebody outside the container still holds open after its end.
const outputDelay = 2 * time.Second

// child is a container whose parent is this process.
type child struct {
	cmd       *exec.Cmd
	namespace string
	group     *memoryCgroup // nil: none
}

// startChild makes a container and returns once its command runs; a [StartError] if it cannot.
func startChild(
	s Spec, rootless bool, group *memoryCgroup, stdout, stderr io.Writer, fork func(*exec.Cmd) error,
) (*child, error) {
	plan, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{childName}
	cmd.Env = []string{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = attributes(s.User, rootless)
	if group != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.dir.Fd())
	}
	cmd.WaitDelay = outputDelay
	message, err := forkWithInput(cmd, plan, fork) // the message ends when the first process becomes the command, or ends
	if cmd.Process == nil && s.User != nil && !rootless {
		return nil, fmt.Errorf("make a user namespace, which a container needs whose user is not root (see sysctl "+
			"user.max_user_namespaces): %w", err)
	}
	if cmd.Process == nil {
		return nil, fmt.Errorf("make namespaces: %w", err)
	}
	if message != "" {
		err = &StartError{Message: message}
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	return &child{cmd: cmd, namespace: namespaceOf(cmd.Process.Pid), group: group}, nil
}

// attributes puts a container with a user of its own into a user namespace, even if root makes it.
func attributes(user *User, rootless bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Setsid:     true,
		Pdeathsig:  syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if rootless || user != nil {
		uid, gid := user.ids()
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: os.Geteuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: os.Getegid(), Size: 1}}
		if uid != 0 { // else the rights in the namespace would end with the re-execution, which has the root to build
			a.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
		}
	}
	return a
}

// wait returns how the container ended, when every process of it has and their output is written.
func (c *child) wait() Exit {
	err := c.cmd.Wait()
	exit := Exit{FinishedAt: time.Now(), OutOfMemory: c.group.exceeded()}
	c.group.remove()
	state := c.cmd.ProcessState
	if state == nil {
		fmt.Fprintf(os.Stderr, "wait for pid %d: %v\n", c.cmd.Process.Pid, err)
		exit.Code = 255
		return exit
	}
	exit.Code = state.ExitCode()
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		exit.Code, exit.Signal = signalBase+int(ws.Signal()), ws.Signal()
	}
	return exit
}

// signalBase is what a shell adds to the number of the signal that ended a command, to make an exit code.
const signalBase = 128
