package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
)

// Launcher starts containers, and takes over those that an earlier process started. The zero value is not usable; see
// [NewLauncher].
type Launcher struct {
	rootless bool
	nsenter  string
	work     chan func()
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
	sweepCgroups()
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
	p, err := startChild(Spec{Hostname: "try", Root: root, Mounts: Base()}, l.rootless, nil, nil, nil, l.fork)
	if err != nil {
		return err
	}
	if e := p.wait(); e.Code != 0 {
		return fmt.Errorf("a trial container ended with %d", e.Code)
	}
	return nil
}

// Rootless reports whether containers get a user namespace, in which the caller's user appears as root.
func (l *Launcher) Rootless() bool { return l.rootless }

// fork starts a command from the thread that never ends.
func (l *Launcher) fork(cmd *exec.Cmd) error {
	started := make(chan error)
	l.work <- func() { started <- cmd.Start() }
	return <-started
}

// forkWithInput starts a command whose file descriptor 3 reads input and whose 4 is for a message; then come files. It
// returns the message, which ends when nobody can write to it any more.
func forkWithInput(cmd *exec.Cmd, input []byte, fork func(*exec.Cmd) error, files ...*os.File) (string, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return "", err
	}
	messageR, messageW, err := os.Pipe()
	if err != nil {
		return "", errors.Join(err, inR.Close(), inW.Close())
	}
	defer messageR.Close()
	cmd.ExtraFiles = append([]*os.File{inR, messageW}, files...)
	err = fork(cmd)
	inR.Close()
	messageW.Close()
	if err != nil {
		inW.Close()
		return "", err
	}
	_, err = inW.Write(input)
	inW.Close()
	message, readErr := io.ReadAll(messageR)
	if len(message) > 0 { // it tells more than the error of a pipe that nobody reads any more
		return string(message), nil
	}
	return "", errors.Join(err, readErr)
}
