package netcut

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel's offset of the network header in a socket filter, and what is looked at there.
const (
	networkHeader = 0xfff00000 // SKF_NET_OFF
	ipv4          = 0x40       // in the upper half of its first byte
	ipv4Target    = networkHeader + 16
	localhost     = 0x7f000001
)

// The verdicts of a socket filter are how many bytes of a packet it lets in.
const (
	nothing    = 0
	everything = 0xffffffff
)

// deaf drops every packet. deafListener lets in what is for 127.0.0.1, which is how the processes of one pod talk to each
// other, and IPv6, in which no pod has an address.
var (
	deaf         = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: nothing}}
	deafListener = []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: networkHeader},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xf0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: ipv4, Jf: 2},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: ipv4Target},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: localhost, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: everything},
		{Code: unix.BPF_RET | unix.BPF_K, K: nothing},
	}
)

// Severed remembers what a cut has reached, by the sockets' inodes.
type Severed map[string]bool

// Sever cuts the IPv4 connections that lead from the processes inside to any others, and keeps others from connecting to
// them. What it has not seen before is cut when it is called again. The far ends are cut too if they belong to outside;
// others hear what the insiders were just saying. Connections among the insiders stay; they make no new ones, but to
// 127.0.0.1. Multipath TCP, which Go's servers offer unless told otherwise, is not cut.
func (s Severed) Sever(inside, outside []int) error {
	ours, err := openSockets(inside, s)
	if err != nil {
		return err
	}
	defer ours.close()
	far, err := s.severNear(ours)
	if err != nil || len(far) == 0 {
		return err
	}
	theirs, err := openSockets(outside, nil)
	if err != nil {
		return err
	}
	defer theirs.close()
	for _, k := range theirs {
		if far[k.ends] {
			if err := k.attach(deaf); err != nil {
				return err
			}
		}
	}
	return nil
}

// severNear cuts the insiders' ends, and returns what the far ends are.
func (s Severed) severNear(ours socks) (map[endpoints]bool, error) {
	near := map[endpoints]bool{}
	for _, k := range ours {
		near[k.ends] = true
	}
	far := map[endpoints]bool{}
	for inode, k := range ours {
		if k.listens {
			if err := k.attach(deafListener); err != nil {
				return nil, err
			}
			continue
		}
		if k.ends.withinPod() || near[k.ends.reversed()] {
			continue
		}
		if err := k.attach(deaf); err != nil {
			return nil, err
		}
		s[inode], far[k.ends.reversed()] = true, true
	}
	return far, nil
}

// Mend takes all cuts from the sockets of processes.
func Mend(pids []int) error {
	all, err := openSockets(pids, nil)
	if err != nil {
		return err
	}
	defer all.close()
	for _, k := range all {
		err := unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return refusal("take a filter from a socket", err)
		}
	}
	return nil
}

func refusal(what string, err error) error {
	return fmt.Errorf("%s: %w; needed: Linux 5.6 that lets this user trace the processes and filter their sockets, or root "+
		"(in a container: with the capability SYS_PTRACE)", what, err)
}

// endpoints are those of a connection, as its one end sees it.
type endpoints struct{ local, remote address }

type address struct {
	ip   [4]byte
	port int
}

func (e endpoints) reversed() endpoints { return endpoints{e.remote, e.local} }

// withinPod: between two processes that call each other localhost.
func (e endpoints) withinPod() bool {
	return e.local.ip == [4]byte{127, 0, 0, 1} && e.remote.ip == e.local.ip
}

// sock is a TCP socket of another process, which fd shares; it listens or is connected.
type sock struct {
	fd      int
	listens bool
	ends    endpoints
}

// socks are sockets by their inodes.
type socks map[string]sock

func (s socks) close() {
	for _, k := range s {
		unix.Close(k.fd)
	}
}

func (k sock) attach(filter []unix.SockFilter) error {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(k.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return refusal("attach a filter to a socket", err)
	}
	return nil
}

// openSockets borrows the IPv4 TCP sockets of processes that are connected or listen, but those in skip. A process that
// ends meanwhile has none.
func openSockets(pids []int, skip Severed) (socks, error) {
	found := socks{}
	for _, pid := range pids {
		if err := found.addOf(pid, skip); err != nil {
			found.close()
			return nil, err
		}
	}
	return found, nil
}

func (s socks) addOf(pid int, skip Severed) error {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, _ := os.ReadDir(dir) // it has ended
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil //nolint:nilerr // it has ended
	}
	defer unix.Close(process)
	for _, entry := range entries {
		inode, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if err != nil || !strings.HasPrefix(inode, "socket:") || skip[inode] {
			continue
		}
		if _, known := s[inode]; known { // shared with a process that was forked
			continue
		}
		number, _ := strconv.Atoi(entry.Name()) // they are numbers
		fd, err := unix.PidfdGetfd(process, number, 0)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
			return refusal("borrow a socket of another process", err)
		}
		if err != nil { // it is closed
			continue
		}
		if k, ok := inspect(fd); ok {
			s[inode] = k
		} else {
			unix.Close(fd)
		}
	}
	return nil
}

// inspect tells what a descriptor is; false if no IPv4 connection, nor a socket that could become the end of one.
func inspect(fd int) (sock, bool) {
	k := sock{fd: fd}
	if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || protocol != unix.IPPROTO_TCP {
		return k, false
	}
	if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && listens == 1 {
		k.listens = true
		return k, true
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return k, false
	}
	remote, err := unix.Getpeername(fd)
	if err != nil {
		return k, false
	}
	var v4 [2]bool
	k.ends.local, v4[0] = parse(local)
	k.ends.remote, v4[1] = parse(remote)
	return k, v4[0] && v4[1]
}

// parse understands IPv4 addresses, also where they are written as IPv6.
func parse(s unix.Sockaddr) (address, bool) {
	switch a := s.(type) {
	case *unix.SockaddrInet4:
		return address{a.Addr, a.Port}, true
	case *unix.SockaddrInet6:
		mapped := [12]byte{10: 0xff, 11: 0xff}
		return address{[4]byte(a.Addr[12:]), a.Port}, [12]byte(a.Addr[:12]) == mapped
	}
	return address{}, false
}
