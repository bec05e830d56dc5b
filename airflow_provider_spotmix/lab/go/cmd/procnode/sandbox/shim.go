package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A shim is the parent of one container, so that neither the container nor word of its end is lost when the process
// that asked for it ends: it writes the log, and at the end how the container ended. It holds a lock for as long as it
// lives, which tells without any process id whether it does.

// shimName is argv[0] of a shim.
const shimName = "procnode-shim"

// lockFD is the file descriptor of the lock in the shim.
const lockFD = 5

// orphaned tells a shim that its parent has ended.
const orphaned = syscall.SIGUSR1

// The files of a shim, in [Keep.Dir].
const (
	lockFile    = "shim.lock"
	runningFile = "running.json"
	exitFile    = "exit.json"
)

// shimPlan is what a shim is told.
type shimPlan struct {
	Spec     Spec `json:"spec"`
	Keep     Keep `json:"keep"`
	Rootless bool `json:"rootless"`
	Parent   int  `json:"parent"` // the process that starts the shim
	Keeper   int  `json:"keeper"` // the process whose child the shim may become when the parent has ended
}

// running is what a shim writes when its container runs.
type running struct {
	Shim      int       `json:"shim"` // process ids, as seen from the host
	PID       int       `json:"pid"`
	Namespace string    `json:"namespace"`
	StartedAt time.Time `json:"startedAt"`
	Env       []string  `json:"env"`
	UserSpace bool      `json:"userSpace"` // it has a user namespace of its own
}

// beShim runs a container from its start to its end.
func beShim() error {
	unix.CloseOnExec(lockFD)
	signals, over := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, orphaned, syscall.SIGTERM)
	var plan shimPlan
	if err := readInput(&plan); err != nil {
		return err
	}
	go func() {
		defer close(over)
		for parent := os.Getppid(); parent == plan.Parent || parent == plan.Keeper; parent = os.Getppid() {
			if <-signals == syscall.SIGTERM {
				return
			}
		} // nobody is left who would end this
	}()
	log, err := CreateLog(plan.Keep.Log)
	if err != nil {
		return err
	}
	c, err := startBounded(plan.Spec, plan.Rootless, log.Stream("stdout"), log.Stream("stderr"))
	var start *StartError
	if errors.As(err, &start) {
		return plan.Keep.write(exitFile, Exit{Code: startErrorCode, StartError: start.Message, FinishedAt: time.Now()})
	}
	if err != nil {
		return err
	}
	err = plan.Keep.write(runningFile, running{
		Shim: os.Getpid(), PID: c.cmd.Process.Pid, Namespace: c.namespace, StartedAt: time.Now(), Env: plan.Spec.Env,
		UserSpace: plan.Rootless || plan.Spec.User != nil,
	})
	if err != nil {
		return err
	}
	_ = unix.Close(messageFD) // tells that it runs
	go func() {
		<-over
		_ = c.cmd.Process.Kill() // the only error is that it has ended
	}()
	exit := c.wait()
	log.Close() // before anyone learns of the end, the log has all of it
	if err := plan.Keep.write(exitFile, exit); err != nil {
		fmt.Fprintln(os.Stderr, "procnode-shim:", err)
	}
	return nil
}

// write puts a file there whole, or not at all.
func (k Keep) write(name string, v any) error { return WriteJSON(filepath.Join(k.Dir, name), v) }
