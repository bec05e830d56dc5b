package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// rootDir is a container's root while it is being built. Every path is resolved by the kernel as if rootDir were "/",
// so that a link in it (absolute or not) never leads out to the host.
type rootDir struct{ fd int }

func openRoot(path string) (rootDir, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return rootDir{}, fmt.Errorf("open %s: %w", path, err)
	}
	return rootDir{fd}, nil
}

func (r rootDir) close() { unix.Close(r.fd) }

// open returns a descriptor of path that can only be used as a place.
func (r rootDir) open(path string) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT}
	return unix.Openat2(r.fd, path, &how)
}

// place is a name for a descriptor that mount(2) understands.
func place(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// mkdirAll makes a directory and its parents; those that exist, also through links, are left as they are.
func (r rootDir) mkdirAll(path string, mode uint32) error {
	done := "/"
	for part := range strings.SplitSeq(strings.Trim(filepath.Clean("/"+path), "/"), "/") {
		if part == "" {
			continue
		}
		next := filepath.Join(done, part)
		fd, err := r.open(next)
		if errors.Is(err, unix.ENOENT) {
			err = r.in(done, func(parent int) error { return unix.Mkdirat(parent, part, mode) })
			if errors.Is(err, unix.EEXIST) {
				err = fmt.Errorf("%s is a link to nothing", next)
			}
		} else if err == nil {
			unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("make directory %s: %w", next, err)
		}
		done = next
	}
	return nil
}

func (r rootDir) in(dir string, do func(fd int) error) error {
	fd, err := r.open(dir)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return do(fd)
}

// mountPoint makes path a directory, or an empty file, unless it exists.
func (r rootDir) mountPoint(path string, directory bool) error {
	if directory {
		return r.mkdirAll(path, 0o755)
	}
	if fd, err := r.open(path); err == nil {
		unix.Close(fd)
		return nil
	}
	dir, name := filepath.Split(filepath.Clean(path))
	if err := r.mkdirAll(dir, 0o755); err != nil {
		return err
	}
	return r.in(dir, func(parent int) error {
		fd, err := unix.Openat(parent, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return fmt.Errorf("make file %s: %w", path, err)
		}
		return unix.Close(fd)
	})
}

func (r rootDir) mount(m Mount) error {
	mode := m.Mode
	if mode == 0 {
		mode = 0o755
	}
	switch m.Kind {
	case Bind:
		return r.bind(m)
	case Dir:
		return r.mkdirAll(m.Target, mode)
	case Symlink:
		return r.symlink(m)
	case Tmpfs:
		return r.mountFS("tmpfs", m.Target, unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=%o", mode))
	case Proc:
		return r.mountFS("proc", m.Target, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	case Dev:
		return r.devices(m.Target)
	default:
		return fmt.Errorf("unknown kind %q", m.Kind)
	}
}

func (r rootDir) symlink(m Mount) error {
	dir, name := filepath.Split(filepath.Clean(m.Target))
	if err := r.mkdirAll(dir, 0o755); err != nil {
		return err
	}
	err := r.in(dir, func(parent int) error { return unix.Symlinkat(m.Source, parent, name) })
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

func (r rootDir) mountFS(fstype, target string, flags uintptr, data string) error {
	if err := r.mkdirAll(target, 0o755); err != nil {
		return err
	}
	return r.in(target, func(fd int) error { return unix.Mount(fstype, place(fd), fstype, flags, data) })
}

func (r rootDir) bind(m Mount) error {
	info, err := os.Stat(m.Source)
	if err != nil {
		return err
	}
	if err := r.mountPoint(m.Target, info.IsDir()); err != nil {
		return err
	}
	err = r.in(m.Target, func(fd int) error {
		// Recursive: in a user namespace the kernel refuses to show what a mount below hides.
		return unix.Mount(m.Source, place(fd), "", unix.MS_BIND|unix.MS_REC, "")
	})
	if err != nil || !m.ReadOnly {
		return err
	}
	// Opened again: the first descriptor shows what the mount hides.
	return r.in(m.Target, readOnly)
}

// readOnly remounts a bind mount read-only. The other flags are repeated: a user namespace may not drop them.
func readOnly(fd int) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY)
	for _, f := range []struct{ st, ms uintptr }{
		{unix.ST_NOSUID, unix.MS_NOSUID}, {unix.ST_NODEV, unix.MS_NODEV}, {unix.ST_NOEXEC, unix.MS_NOEXEC},
		{unix.ST_NOATIME, unix.MS_NOATIME}, {unix.ST_NODIRATIME, unix.MS_NODIRATIME}, {unix.ST_RELATIME, unix.MS_RELATIME},
	} {
		if uintptr(st.Flags)&f.st != 0 {
			flags |= f.ms
		}
	}
	return unix.Mount("", place(fd), "", flags, "")
}

// devices makes a /dev with the devices that programs expect. They are bound, since a user namespace may not make any.
func (r rootDir) devices(target string) error {
	steps := []Mount{{Kind: Tmpfs, Target: target}}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		steps = append(steps, Mount{Kind: Bind, Source: "/dev/" + name, Target: filepath.Join(target, name)})
	}
	for name, link := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
		steps = append(steps, Mount{Kind: Symlink, Source: "/proc/self/fd" + link, Target: filepath.Join(target, name)})
	}
	steps = append(steps, Mount{Kind: Tmpfs, Target: filepath.Join(target, "shm"), Mode: 0o1777})
	for _, m := range steps {
		if err := r.mount(m); err != nil {
			return fmt.Errorf("%s: %w", m.Target, err)
		}
	}
	return nil
}
