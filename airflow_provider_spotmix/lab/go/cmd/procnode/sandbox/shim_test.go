package sandbox

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// predecessorName is argv[0] of a process that starts a container, says so, and waits for its own end.
const predecessorName = "predecessor"

func TestMain(m *testing.M) {
	RunIfChild()
	if os.Args[0] == predecessorName {
		if err := precede(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

type task struct {
	Spec Spec
	Keep Keep
}

func precede() error {
	var t task
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return err
	}
	l, err := NewLauncher(os.TempDir())
	if err != nil {
		return err
	}
	if _, err := l.Start(t.Spec, t.Keep); err != nil {
		return err
	}
	fmt.Println("started")
	select {}
}

// takeInOrphans lets the test's process be one that shims may be left to, or not.
func takeInOrphans(t *testing.T, yes uintptr) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, yes, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
}

// startedByAnother starts a container from another process, and returns what ends that process.
func startedByAnother(t *testing.T, spec Spec, keep Keep) (end func()) {
	t.Helper()
	launcher(t) // or skip
	plan, err := json.Marshal(task{spec, keep})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args, cmd.Env = []string{predecessorName}, os.Environ()
	cmd.Stdin = strings.NewReader(string(plan))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(end)
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "started\n" {
		rest, _ := io.ReadAll(out)
		t.Fatalf("the predecessor says %q%q, %v", line, rest, err)
	}
	return end
}

func adopt(t *testing.T, keep Keep) *Process {
	t.Helper()
	p, err := launcher(t).Adopt(keep.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Signal(syscall.SIGKILL); p.Wait() })
	return p
}

func shared(t *testing.T) (string, Mount) {
	t.Helper()
	dir := t.TempDir()
	return dir, Mount{Kind: Bind, Source: dir, Target: "/shared"}
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

const awaitGo = "until [ -e /shared/go ]; do sleep 0.01; done; "

func TestContainerOutlivesWhoStartedIt(t *testing.T) {
	takeInOrphans(t, 1)
	dir, mount := shared(t)
	keep := keeper(t)
	end := startedByAnother(t, shell(t, "echo one; "+awaitGo+"echo two; exit 7", mount), keep)
	before := adopt(t, keep)
	end()
	p := adopt(t, keep)
	if p.PID() != before.PID() || p.Namespace() != before.Namespace() || p.StartedAt() != before.StartedAt() {
		t.Errorf("got %+v, was %+v", p, before)
	}
	out, err := p.Enter(t.Context(), "sh", "-c", "hostname; echo $A").CombinedOutput()
	if string(out) != "box\nb\n" || err != nil {
		t.Errorf("a command in it: %q, %v", out, err)
	}
	select {
	case <-p.Done():
		t.Fatal("it has ended")
	default:
	}
	touch(t, filepath.Join(dir, "go"))
	if exit := p.Wait(); exit.Code != 7 || exit.Signal != 0 || exit.Lost {
		t.Errorf("exit %+v", exit)
	}
	if got := logText(t, keep); got != "one\ntwo\n" {
		t.Errorf("log %q", got)
	}
	if err := p.Enter(t.Context(), "true").Run(); err == nil {
		t.Error("a command ran in a container that has ended")
	}
}

func TestEndThatNobodyWaitedForIsKnown(t *testing.T) {
	takeInOrphans(t, 1)
	keep := keeper(t)
	end := startedByAnother(t, shell(t, "sleep 1000"), keep)
	watcher := adopt(t, keep)
	end()
	if err := syscall.Kill(watcher.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	watcher.Wait()
	after := time.Now()
	exit := adopt(t, keep).Wait()
	if exit.Code != 137 || exit.Signal != syscall.SIGKILL || exit.Lost || exit.FinishedAt.After(after) {
		t.Errorf("exit %+v, later than %s", exit, after)
	}
}

func TestContainerEndsIfNobodyTakesItIn(t *testing.T) {
	takeInOrphans(t, 0)
	keep := keeper(t)
	end := startedByAnother(t, shell(t, "trap '' TERM; sleep 1000 & sleep 1000"), keep)
	p := adopt(t, keep)
	end()
	if exit := p.Wait(); exit.Lost || exit.Code != 137 {
		t.Errorf("exit %+v", exit)
	}
	gone(t, p)
}

func TestShimThatIsAskedToEndTidiesUp(t *testing.T) {
	p := start(t, keeper(t), "trap '' TERM; sleep 1000 & sleep 1000")
	if err := syscall.Kill(p.running.Shim, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if exit := p.Wait(); exit.Lost || exit.Code != 137 {
		t.Errorf("exit %+v", exit)
	}
	gone(t, p)
}

func TestContainerEndsWithItsShim(t *testing.T) {
	for name, user := range map[string]*User{"root": nil, "a-user-of-its-own": {UID: 185, GID: 185}} {
		t.Run(name, func(t *testing.T) { endsWithItsShim(t, user) })
	}
}

func endsWithItsShim(t *testing.T, user *User) {
	t.Helper()
	spec := shell(t, "trap '' TERM; sleep 1000 & sleep 1000")
	spec.User = user
	p, err := launcher(t).Start(spec, keeper(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Signal(syscall.SIGKILL); p.Wait() })
	if err := syscall.Kill(p.running.Shim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := p.Wait(); !exit.Lost || exit.Code != 137 || exit.Signal != syscall.SIGKILL {
		t.Errorf("exit %+v", exit)
	}
	gone(t, p)
}

// gone waits until no process of a container is left.
func gone(t *testing.T, p *Process) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); len(Members()[p.Namespace()]) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("processes %v are left", Members()[p.Namespace()])
		}
	}
}

func TestWhatNeverStartedCannotBeAdopted(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"nothing": func(string) error { return nil },
		"a lock that nobody holds": func(dir string) error {
			lock, err := lockShim(dir)
			return errors.Join(err, lock.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			if p, err := (&Launcher{}).Adopt(dir); !errors.Is(err, ErrNeverStarted) {
				t.Errorf("got %+v, %v", p, err)
			}
		})
	}
}

func TestFailedStartIsKnownLater(t *testing.T) {
	keep := keeper(t)
	spec := shell(t, "true")
	spec.Args = []string{"/nope"}
	_, err := launcher(t).Start(spec, keep)
	later := adopt(t, keep).StartError()
	if err == nil || later == nil || later.Error() != err.Error() {
		t.Errorf("got %v, later %v", err, later)
	}
}

// TestProcessOfTheSameNumberIsLeftAlone: numbers are given out again, also those of a shim and a container.
func TestProcessOfTheSameNumberIsLeftAlone(t *testing.T) {
	stranger := exec.Command("sleep", "1000")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	for _, c := range []struct {
		name      string
		shimLives bool
	}{{"the shim has ended", false}, {"the shim lives, the container has ended", true}} {
		t.Run(c.name, func(t *testing.T) {
			keep := keeper(t)
			left := running{Shim: os.Getpid(), PID: stranger.Process.Pid, Namespace: "pid:[1]", StartedAt: time.Now()}
			if err := keep.write(runningFile, left); err != nil {
				t.Fatal(err)
			}
			if c.shimLives {
				lock, err := lockShim(keep.Dir)
				if err != nil {
					t.Fatal(err)
				}
				defer lock.Close()
			}
			p, err := (&Launcher{}).Adopt(keep.Dir)
			if err != nil {
				t.Fatal(err)
			}
			p.Signal(syscall.SIGKILL)
			if p.Enter(t.Context(), "true").Run() == nil {
				t.Error("a command ran in a container that has ended")
			}
			if got := closed(p.Done()); got == c.shimLives {
				t.Errorf("over: %t", got)
			}
			if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
				t.Errorf("the stranger: %v", err)
			}
		})
	}
}

func TestFilesAreWholeOrAbsent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, value := range []string{"one", strings.Repeat("two", 10_000)} {
		if err := WriteJSON(path, value); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := ReadJSON(path, &got); err != nil || got != value {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if WriteJSON(filepath.Join(path, "below"), "x") == nil {
		t.Error("written below a file")
	}
}
