package sandbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var oneLauncher = sync.OnceValues(func() (*Launcher, error) { return NewLauncher(os.TempDir()) })

func launcher(t *testing.T) *Launcher {
	t.Helper()
	l, err := oneLauncher()
	if err != nil {
		t.Skip(err)
	}
	return l
}

// run runs a shell script in a container and returns its output and its end.
func run(t *testing.T, script string, mounts ...Mount) (string, Exit) {
	t.Helper()
	keep := keeper(t)
	exit := start(t, keep, script, mounts...).Wait()
	return strings.TrimSpace(logText(t, keep)), exit
}

func start(t *testing.T, keep Keep, script string, mounts ...Mount) *Process {
	t.Helper()
	p, err := launcher(t).Start(shell(t, script, mounts...), keep)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Signal(syscall.SIGKILL); p.Wait() })
	return p
}

func keeper(t *testing.T) Keep {
	t.Helper()
	dir := t.TempDir()
	return Keep{Dir: dir, Log: filepath.Join(dir, "log")}
}

// logText is what a container has written.
func logText(t *testing.T, keep Keep) string {
	t.Helper()
	raw, err := os.ReadFile(keep.Log)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(string(raw)) {
		text.WriteString(strings.SplitN(line, " ", 4)[3])
	}
	return text.String()
}

func shell(t *testing.T, script string, mounts ...Mount) Spec {
	t.Helper()
	return Spec{
		Hostname: "box", Root: t.TempDir(), Mounts: append(Base(), mounts...), Dir: "/job", Env: []string{"PATH=/usr/bin:/bin", "A=b"},
		Args: []string{"sh", "-c", script},
	}
}

func TestContainerSeesItsOwnWorld(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"host-name", "hostname", "box"},
		{"first-process", "echo $$", "1"},
		{"its-processes-only", "echo /proc/[0-9]*", "/proc/1"},
		{"user", "id -u", "0"},
		{"working-directory-is-made", "pwd", "/job"},
		{"environment-is-the-given-one", "echo $A$HOME", "b"},
		{"var-run-is-run", "echo x > /run/f; cat /var/run/f", "x"},
		{"programs-are-read-only", "touch /usr/f 2>&1 | grep -c 'Read-only'", "1"},
		{"devices", "head -c 4 /dev/zero | wc -c; : > /dev/null; ls -ld /dev/shm | cut -c1-10", "4\ndrwxrwxrwt"},
		{"old-root-is-gone", "ls -A /home /root | wc -w", "2"}, // two headings, no entry
		{"tmp-is-for-everyone", "stat -c %a /tmp", "1777"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, exit := run(t, c.script); got != c.want || exit.Code != 0 {
				t.Errorf("got %q and exit %+v, want %q", got, exit, c.want)
			}
		})
	}
}

func TestAUserOfItsOwn(t *testing.T) {
	host := t.TempDir()
	spec := shell(t, "id -u; id -g; touch /data/f; stat -c '%u %g' /data/f; grep CapEff /proc/self/status | cut -f2; : > /run/ready; exec sleep 1000",
		Mount{Kind: Bind, Source: host, Target: "/data"})
	spec.User = &User{UID: 185, GID: 3000}
	keep := keeper(t)
	p, err := launcher(t).Start(spec, keep)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.Signal(syscall.SIGKILL); p.Wait() }()
	entered, err := p.Enter(t.Context(), "sh", "-c", "until [ -e /run/ready ]; do sleep 0.01; done; id -u; grep CapEff /proc/self/status | cut -f2").Output()
	if want := "185\n0000000000000000\n"; string(entered) != want || err != nil {
		t.Errorf("entered: got %q, %v, want %q", entered, err, want)
	}
	if got, want := logText(t, keep), "185\n3000\n185 3000\n0000000000000000\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	info, err := os.Stat(filepath.Join(host, "f"))
	if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		t.Errorf("outside the file is not ours: %+v, %v", info, err)
	}
}

func TestAHardenedContainer(t *testing.T) {
	host := t.TempDir()
	for _, user := range []*User{nil, {UID: 185}} {
		spec := shell(t, "for f in /f /tmp/f /etc/f /data/f; do touch $f 2>/dev/null && echo $f; done; grep NoNewPrivs /proc/self/status | cut -f2",
			Mount{Kind: Bind, Source: host, Target: "/data"})
		spec.User, spec.ReadOnlyRoot, spec.NoNewPrivileges = user, true, true
		keep := keeper(t)
		p, err := launcher(t).Start(spec, keep)
		if err != nil {
			t.Fatal(err)
		}
		p.Wait()
		if got, want := logText(t, keep), "/data/f\n1\n"; got != want {
			t.Errorf("user %+v: got %q, want %q", user, got, want)
		}
	}
}

func TestMountsLandInsideTheRoot(t *testing.T) {
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "f"), []byte("host"), 0o644); err != nil {
		t.Fatal(err)
	}
	spread, err := Spread(host, "/opt/spread", "left-out")
	if err != nil {
		t.Fatal(err)
	}
	mounts := slices.Concat(spread, []Mount{
		Mount{Kind: Bind, Source: host, Target: "/var/run/secrets/deep"}, // through the link, inside the root
		Mount{Kind: Bind, Source: filepath.Join(host, "f"), Target: "/opt/spread/nested/file", ReadOnly: true},
		Mount{Kind: Symlink, Source: "/run", Target: "/opt/link"},
		Mount{Kind: Bind, Source: host, Target: "/opt/link/linked"},
	})
	got, _ := run(t, "cat /run/secrets/deep/f /opt/spread/f /opt/spread/nested/file /run/linked/f; echo new > /run/secrets/deep/g; "+
		"(echo x > /opt/spread/nested/file) 2>&1 | grep -o Read-only", mounts...)
	if want := "hosthosthosthostRead-only"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if b, err := os.ReadFile(filepath.Join(host, "g")); err != nil || string(b) != "new\n" {
		t.Errorf("a writable mount did not reach the host: %q, %v", b, err)
	}
}

func TestExits(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         Exit
	}{
		{"success", "exit 0", Exit{}},
		{"code", "exit 42", Exit{Code: 42}},
		{"command-of-the-shell-missing", "no-such-command", Exit{Code: 127}},
		{"killed-child-is-not-the-container", "sh -c 'kill -9 $$'; exit 3", Exit{Code: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Now()
			_, got := run(t, c.script)
			if got.FinishedAt.Before(begin) || got.FinishedAt.After(time.Now()) {
				t.Errorf("it ended at %s", got.FinishedAt)
			}
			if got.FinishedAt = (time.Time{}); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestStartErrorsTellTheirStory(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Spec)
		want   string
	}{
		{"no-command", func(s *Spec) { s.Args = []string{"nope"} }, `command "nope" is not in PATH=/usr/bin:/bin`},
		{"no-file", func(s *Spec) { s.Args = []string{"/nope"} }, "exec /nope: no such file"},
		{"no-source", func(s *Spec) {
			s.Mounts = append(s.Mounts, Mount{Kind: Bind, Source: "/nope", Target: "/x"})
		}, "bind /nope at /x: stat /nope"},
		{"target-in-read-only", func(s *Spec) {
			s.Mounts = append(s.Mounts, Mount{Kind: Bind, Source: "/usr", Target: "/usr/nope"})
		}, "make directory /usr/nope: read-only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := shell(t, "true")
			c.change(&spec)
			_, err := launcher(t).Start(spec, keeper(t))
			var start *StartError
			if !errors.As(err, &start) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a StartError with %q", err, c.want)
			}
		})
	}
}

func TestKillEndsTheWholeTree(t *testing.T) {
	p := start(t, keeper(t), "trap '' TERM; sleep 1000 & sleep 1001; wait")
	children := func() string {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/task/" + strconv.Itoa(p.PID()) + "/children")
		return strings.TrimSpace(string(b))
	}
	for end := time.Now().Add(5 * time.Second); len(strings.Fields(children())) < 2 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	pids := strings.Fields(children())
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Done():
		t.Fatal("a handled SIGTERM ended the container")
	case <-time.After(50 * time.Millisecond):
	}
	p.Signal(syscall.SIGKILL)
	if got := p.Wait(); got.Code != 137 || got.Signal != syscall.SIGKILL || got.Lost {
		t.Errorf("exit %+v", got)
	}
	for _, pid := range pids {
		if _, err := os.Stat("/proc/" + pid); err == nil {
			t.Errorf("process %s is left", pid)
		}
	}
	if len(pids) < 2 {
		t.Errorf("expected two children, saw %v", pids)
	}
}

func TestEnterRunsInsideAndStopsWithItsContext(t *testing.T) {
	p := start(t, keeper(t), "echo inside > /tmp/f; exec sleep 1000")
	out, err := p.Enter(t.Context(), "sh", "-c", "until [ -s /tmp/f ]; do sleep 0.01; done; cat /tmp/f; hostname; pwd; echo $A; exit 7").Output()
	if string(out) != "inside\nbox\n/job\nb\n" || err == nil || err.Error() != "exit status 7" {
		t.Errorf("got %q, %v", out, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := p.Enter(ctx, "sleep", "1000").Run(); err == nil || time.Since(begin) > time.Second {
		t.Errorf("ended with %v after %s", err, time.Since(begin))
	}
	// A zombie, which waits for a first process that reaps, has no command line.
	out, _ = p.Enter(t.Context(), "sh", "-c", "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f; echo; done | grep -c ^sleep").Output()
	if strings.TrimSpace(string(out)) != "1" {
		t.Errorf("the cancelled command still runs: %q processes sleep", out)
	}
}
