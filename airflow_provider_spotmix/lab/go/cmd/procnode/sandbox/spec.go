package sandbox

import "strings"

// Kind says what a [Mount] puts at its target.
type Kind string

// The kinds of mounts. A target's missing parents are made; links are resolved inside the container's root.
const (
	Bind    Kind = "bind"    // Source, a file or directory of the host, with what is mounted below it
	Tmpfs   Kind = "tmpfs"   // an empty directory in memory, writable
	Dir     Kind = "dir"     // a directory in the file system that is already there
	Symlink Kind = "symlink" // a link to Source, which is taken as it is
	Proc    Kind = "proc"    // the process file system of the container's pid namespace
	Dev     Kind = "dev"     // a minimal device directory
)

// Mount is one step of building a container's root; steps are done in order.
type Mount struct {
	Kind     Kind   `json:"kind"`
	Source   string `json:"source,omitempty"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"` // Bind only; file systems mounted below Source keep their own flag
	Mode     uint32 `json:"mode,omitempty"`     // of Tmpfs and Dir; default 0755
}

// Spec describes one container.
type Spec struct {
	Hostname string   `json:"hostname"` // cut to the 63 bytes that Linux allows
	Root     string   `json:"root"`     // an existing empty directory of the host; stays empty there
	Mounts   []Mount  `json:"mounts"`
	Dir      string   `json:"dir"`  // working directory; made if missing; default /
	Args     []string `json:"args"` // the command, looked up in PATH of Env; none: build the root and exit 0 (a trial)
	Env      []string `json:"env"`  // NAME=value, the whole environment

	User            *User `json:"user,omitempty"`            // default: root
	ReadOnlyRoot    bool  `json:"readOnlyRoot,omitempty"`    // what is no mount of its own cannot be written to
	MemoryLimit     int64 `json:"memoryLimit,omitempty"`     // bytes; kept by the kernel where it lets us, see [Exit.OutOfMemory]
	NoNewPrivileges bool  `json:"noNewPrivileges,omitempty"` // no program gives more rights than its caller has
}

// User is who a container's processes are, inside. Outside they are the calling program's user all the same, and inside
// that user's files are theirs: nobody needs to be root for it, and nothing changes its owner.
type User struct {
	UID int `json:"uid"`
	GID int `json:"gid"`
}

func (u *User) ids() (uid, gid int) {
	if u == nil {
		return 0, 0
	}
	return u.UID, u.GID
}

// hostnameLimit is __NEW_UTS_LEN of Linux less one, as the kubelet cuts it.
const hostnameLimit = 63

// Hostname cuts a name to what Linux takes as a host name.
func Hostname(name string) string {
	return strings.TrimRight(name[:min(len(name), hostnameLimit)], "-.")
}
