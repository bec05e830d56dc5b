// Package sandbox runs a command as a container: a process tree in mount, pid, uts and ipc namespaces of its own, and in
// a user namespace too where the caller is not root.
//
// It needs no container runtime and no image: the root is a tmpfs into which directories of the host are bound. The
// calling program re-executes itself as the container's first process, which builds the root and then becomes the
// command; therefore main (and TestMain) must call [RunIfChild] before anything else.
//
// The network is the host's: containers are told apart by their 127.x.y.z address, which needs no configuration at all.
package sandbox
