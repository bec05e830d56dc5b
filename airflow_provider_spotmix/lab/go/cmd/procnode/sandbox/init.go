package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel keeps the parent-death signal by thread, on both sides. A container whose command is executed by another
// thread than the one that was forked would outlive its shim's death, one that was forked by a thread which ends would not
// outlive that. Only in init is this goroutine on the main thread for certain.
func init() {
	if isChild() {
		runtime.LockOSThread()
	}
}

func isChild() bool { return len(os.Args) > 0 && (os.Args[0] == childName || os.Args[0] == shimName) }

// RunIfChild turns this process into a container, or into the shim of one, if a [Launcher] started it for that; then it
// does not return.
func RunIfChild() {
	if !isChild() {
		return
	}
	become := becomeContainer
	if os.Args[0] == shimName {
		become = beShim
	}
	report := os.NewFile(messageFD, "errors")
	unix.CloseOnExec(messageFD)
	if err := become(); err != nil {
		fmt.Fprint(report, err)
		os.Exit(startErrorCode)
	}
	os.Exit(0)
}

// readInput takes what forkWithInput has handed over.
func readInput(v any) error {
	in := os.NewFile(inputFD, "plan")
	defer in.Close()
	if err := json.NewDecoder(in).Decode(v); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	return nil
}

func becomeContainer() error {
	var spec Spec
	if err := readInput(&spec); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(Hostname(spec.Hostname))); err != nil {
		return fmt.Errorf("set host name %q: %w", spec.Hostname, err)
	}
	if err := enterRoot(spec); err != nil {
		return err
	}
	if len(spec.Args) == 0 {
		return nil
	}
	if err := settle(spec); err != nil {
		return err
	}
	path, err := lookPath(spec.Args[0], spec.Env)
	if err != nil {
		return err
	}
	if err := unix.Exec(path, spec.Args, spec.Env); err != nil {
		return fmt.Errorf("exec %s: %w", path, err)
	}
	return nil
}

// settle gives up what only building the root needed.
func settle(spec Spec) error {
	if spec.ReadOnlyRoot {
		flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV)
		if err := unix.Mount("", "/", "", flags, ""); err != nil {
			return fmt.Errorf("make the root read-only: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	if spec.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("allow no new privileges: %w", err)
		}
	}
	return nil
}

// enterRoot builds the root, makes it the only file system of this process and changes to the working directory.
func enterRoot(spec Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", spec.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount a tmpfs at %s: %w", spec.Root, err)
	}
	unix.Umask(0) // modes are meant as they are written
	root, err := openRoot(spec.Root)
	if err != nil {
		return err
	}
	for _, m := range spec.Mounts {
		if err := root.mount(m); err != nil {
			return fmt.Errorf("%s %s at %s: %w", m.Kind, m.Source, m.Target, err)
		}
	}
	dir := filepath.Join("/", spec.Dir)
	if err := root.mkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("working directory %s: %w", dir, err)
	}
	root.close()
	if err := pivot(spec.Root); err != nil {
		return fmt.Errorf("change to the new root: %w", err)
	}
	unix.Umask(0o022)
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	return nil
}

// pivot makes root the root of this mount namespace. The old one is stacked below it for a moment, then let go.
func pivot(root string) error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return os.Chdir("/")
}

// lookPath finds a command as a shell would, in the container's own PATH.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, name)
		info, err := os.Stat(candidate)
		if err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) && !errors.Is(err, unix.ENOTDIR) {
			return "", err
		}
	}
	return "", fmt.Errorf("command %q is not in PATH=%s of the container", name, path)
}
