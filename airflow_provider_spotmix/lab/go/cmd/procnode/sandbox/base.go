package sandbox

import (
	"os"
	"path/filepath"
	"strings"
)

// Base is the root every container starts from: the host's programs and libraries read-only, and empty directories
// where a Linux system expects to write. /etc is not in it, see [Spread].
func Base() []Mount {
	mounts := []Mount{{Kind: Bind, Source: "/usr", Target: "/usr", ReadOnly: true}}
	for _, path := range hostTops() {
		if link, err := os.Readlink(path); err == nil {
			mounts = append(mounts, Mount{Kind: Symlink, Source: link, Target: path})
			continue
		}
		mounts = append(mounts, Mount{Kind: Bind, Source: path, Target: path, ReadOnly: true})
	}
	for _, path := range []string{"/opt", "/root", "/run", "/var/lib", "/var/log", "/home", "/mnt", "/srv"} {
		mounts = append(mounts, Mount{Kind: Dir, Target: path})
	}
	for _, path := range []string{"/tmp", "/var/tmp"} {
		mounts = append(mounts, Mount{Kind: Dir, Target: path, Mode: 0o1777})
	}
	return append(mounts,
		Mount{Kind: Symlink, Source: "/run", Target: "/var/run"},
		Mount{Kind: Proc, Target: "/proc"},
		Mount{Kind: Dev, Target: "/dev"},
	)
}

// hostTops are the host's top-level directories of programs and libraries; on most systems links into /usr.
func hostTops() []string {
	tops := []string{}
	for _, pattern := range []string{"/bin", "/sbin", "/lib*"} {
		found, _ := filepath.Glob(pattern) // the only error is a bad pattern
		tops = append(tops, found...)
	}
	return tops
}

// Spread binds every entry of the host's directory source read-only into a writable directory target, so that other
// mounts can be made below target. Links are copied as links. Names in skip are left out.
func Spread(source, target string, skip ...string) ([]Mount, error) {
	entries, err := os.ReadDir(source)
	if err != nil {
		return nil, err
	}
	mounts := []Mount{{Kind: Dir, Target: target}}
	left := " " + strings.Join(skip, " ") + " "
	for _, entry := range entries {
		if strings.Contains(left, " "+entry.Name()+" ") {
			continue
		}
		from, to := filepath.Join(source, entry.Name()), filepath.Join(target, entry.Name())
		if link, err := os.Readlink(from); err == nil {
			mounts = append(mounts, Mount{Kind: Symlink, Source: link, Target: to})
			continue
		}
		mounts = append(mounts, Mount{Kind: Bind, Source: from, Target: to, ReadOnly: true})
	}
	return mounts, nil
}
