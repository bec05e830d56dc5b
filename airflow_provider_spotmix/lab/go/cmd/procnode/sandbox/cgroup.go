package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memoryCgroup is a cgroup (version 2) of one container, whose memory the kernel bounds. nil where this machine gives us none.
// https://docs.kernel.org/admin-guide/cgroup-v2.html
type memoryCgroup struct {
	path string
	dir  *os.File // to start a process in it
}

const cgroupPrefix = "spotmix-"

// rmdirPatience is for processes that have ended, but that the kernel still counts.
const rmdirPatience = 2 * time.Second

// newMemoryCgroup finds out by trying whether we may bound memory: below our own cgroup, or beside it.
func newMemoryCgroup(limit int64) *memoryCgroup {
	if limit <= 0 {
		return nil
	}
	for _, parent := range cgroupParents() {
		path := filepath.Join(parent, cgroupPrefix+strconv.Itoa(os.Getpid()))
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			continue
		}
		g := &memoryCgroup{path: path}
		if g.bound(limit) == nil {
			return g
		}
		g.remove()
	}
	return nil
}

// startBounded starts a container whose memory the kernel bounds, if it lets us.
func startBounded(s Spec, rootless bool, stdout, stderr io.Writer) (*child, error) {
	fork := (*exec.Cmd).Start
	if group := newMemoryCgroup(s.MemoryLimit); group != nil {
		c, err := startChild(s, rootless, group, stdout, stderr, fork)
		if err == nil {
			return c, nil
		}
		group.remove()
		var start *StartError
		if errors.As(err, &start) {
			return nil, err
		}
		// We may make a cgroup, but put nobody into it.
	}
	return startChild(s, rootless, nil, stdout, stderr, fork)
}

// sweepCgroups removes those of shims that were killed; the kernel keeps those in which a process is.
func sweepCgroups() {
	for _, parent := range cgroupParents() {
		left, _ := filepath.Glob(filepath.Join(parent, cgroupPrefix+"*")) // the only error is a bad pattern
		for _, path := range left {
			_ = os.Remove(path)
		}
	}
}

// cgroupParents are the cgroups in which we might make one. Beside our own one we only look where no root's right helps:
// there it is ours to do so if the kernel lets us, while the rest of the machine is its service manager's.
func cgroupParents() []string {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		if own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			parents := []string{filepath.Join("/sys/fs/cgroup", own)}
			if os.Geteuid() != 0 {
				parents = append(parents, filepath.Join("/sys/fs/cgroup", filepath.Dir(own)))
			}
			return parents
		}
	}
	return nil
}

// bound sets the limit, with which the whole container ends if it needs more.
func (g *memoryCgroup) bound(limit int64) error {
	for name, value := range map[string]string{
		"memory.max": strconv.FormatInt(limit, 10), "memory.oom.group": "1",
	} {
		if err := g.write(name, value); err != nil {
			return err
		}
	}
	_ = g.write("memory.swap.max", "0") // there is none where the kernel does not swap
	dir, err := os.Open(g.path)
	g.dir = dir
	return err
}

// write sets a file that the kernel has made.
func (g *memoryCgroup) write(name, value string) error {
	f, err := os.OpenFile(filepath.Join(g.path, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// exceeded tells whether the kernel has ended the container for its memory.
func (g *memoryCgroup) exceeded() bool {
	if g == nil {
		return false
	}
	f, err := os.Open(filepath.Join(g.path, "memory.events"))
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		killed := 0
		if n, _ := fmt.Sscanf(lines.Text(), "oom_kill %d", &killed); n == 1 {
			return killed > 0
		}
	}
	return false
}

// remove gives the cgroup back when no process is in it any more.
func (g *memoryCgroup) remove() {
	if g == nil {
		return
	}
	if g.dir != nil {
		g.dir.Close()
	}
	for end := time.Now().Add(rmdirPatience); os.Remove(g.path) != nil && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
}
