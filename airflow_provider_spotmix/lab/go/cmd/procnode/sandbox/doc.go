// Package sandbox runs a command as a container: a process tree in mount, pid, uts and ipc namespaces of its own, and in
// a user namespace too where the caller is not root.
//
// It needs no container runtime and no image: the root is a tmpfs into which directories of the host are bound. The
// calling program re-executes itself as the container's first process, which builds the root and then becomes the
// command; therefore main (and TestMain) must call [RunIfChild] before anything else.
//
// The parent of a container is a shim, a process of its own, which writes the container's log and how it ended. It ends
// with the calling program, and the container with it, unless the caller's own parent takes in orphans (a child
// subreaper): then it goes on until that ends, and the caller's successor can [Launcher.Adopt] the container.
//
// The network is the host's: containers are told apart by their 127.x.y.z address, which needs no configuration at all.
package sandbox
