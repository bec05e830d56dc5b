// Package netcut cuts connections as a broken network does: nothing is closed, nothing arrives, and what was under way
// goes on when the network is whole again.
//
// A [Gate] does it for connections of this process. [Sever] does it for those of other processes, without root, network
// namespaces or a firewall: it borrows each of their TCP sockets (pidfd_getfd(2)) and attaches a socket filter that drops
// whatever arrives (SO_ATTACH_FILTER, socket(7)), so that the kernel sends it again and again, as for a packet lost on
// its way.
package netcut
