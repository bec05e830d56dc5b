package sandbox

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// fakeCgroup is a directory with the files that a kernel would make.
func fakeCgroup(t *testing.T, names ...string) *memoryCgroup {
	t.Helper()
	g := &memoryCgroup{path: t.TempDir()}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(g.path, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func TestACgroupBoundsAWholeContainer(t *testing.T) {
	g := fakeCgroup(t, "memory.max", "memory.oom.group", "memory.swap.max")
	if err := g.bound(64 << 20); err != nil {
		t.Fatal(err)
	}
	defer g.dir.Close()
	for name, want := range map[string]string{"memory.max": "67108864", "memory.oom.group": "1", "memory.swap.max": "0"} {
		if got, err := os.ReadFile(filepath.Join(g.path, name)); string(got) != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
}

func TestACgroupThatDoesNotCountMemoryIsOfNoUse(t *testing.T) {
	if err := fakeCgroup(t, "cgroup.procs").bound(1); err == nil {
		t.Error("it was taken")
	}
}

func TestTheKernelTellsWhomItEndedForMemory(t *testing.T) {
	for events, want := range map[string]bool{
		"low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 1\n": true,
		"low 0\nhigh 0\nmax 12\noom 0\noom_kill 0\noom_group_kill 0\n": false,
		"": false,
	} {
		g := fakeCgroup(t)
		if err := os.WriteFile(filepath.Join(g.path, "memory.events"), []byte(events), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := g.exceeded(); got != want {
			t.Errorf("%q: got %t", events, got)
		}
	}
	if (*memoryCgroup)(nil).exceeded() {
		t.Error("without a cgroup nobody knows")
	}
}

func TestTheKernelBoundsMemoryWhereItMay(t *testing.T) {
	spec := shell(t, "exec dd if=/dev/zero of=/dev/null bs=256M count=1")
	spec.MemoryLimit = 32 << 20
	p, err := launcher(t).Start(spec, keeper(t))
	if err != nil {
		t.Fatal(err)
	}
	exit := p.Wait()
	for _, parent := range cgroupParents() {
		if _, err := os.Stat(filepath.Join(parent, cgroupPrefix+strconv.Itoa(p.running.Shim))); err == nil {
			t.Errorf("a cgroup is left in %s", parent)
		}
	}
	if exit.Code == 0 {
		t.Skip("this machine delegates no cgroup to us that counts memory")
	}
	if exit.Code != 137 || !exit.OutOfMemory {
		t.Errorf("exit %+v", exit)
	}
}
