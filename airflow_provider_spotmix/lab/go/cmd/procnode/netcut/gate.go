package netcut

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Gate holds back what its connections carry while it is shut. Each connection is a relay of two sockets, so that buffers
// and deadlines are the kernel's, as they are in front of a broken network.
type Gate struct {
	mu     sync.Mutex
	open   chan struct{} // closed while the gate is open
	gone   chan struct{} // closed for good
	relays map[*relay]bool
}

// NewGate makes an open gate.
func NewGate() *Gate {
	g := &Gate{open: make(chan struct{}), gone: make(chan struct{}), relays: map[*relay]bool{}}
	close(g.open)
	return g
}

// Shut stops everything from passing. No connection ends.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if closed(g.open) {
		g.open = make(chan struct{})
	}
}

// Open lets everything pass, first what has waited.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !closed(g.open) {
		close(g.open)
	}
}

// Close ends all connections; nothing passes any more.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if closed(g.gone) {
		return
	}
	close(g.gone)
	for r := range g.relays {
		r.end()
	}
}

var errGone = errors.New("the gate is closed for good")

// pass waits until the gate is open.
func (g *Gate) pass(ctx context.Context) error {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-g.gone:
		return errGone
	case <-ctx.Done():
		return ctx.Err()
	case <-open:
		return nil
	}
}

// DialContext connects through the gate, when it is open.
func (g *Gate) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := g.pass(ctx); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	far, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return g.join(far)
}

// Listener takes connections through the gate.
func (g *Gate) Listener(l net.Listener) net.Listener { return gatedListener{l, g} }

type gatedListener struct {
	net.Listener
	gate *Gate
}

// Accept implements [net.Listener].
func (l gatedListener) Accept() (net.Conn, error) {
	far, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.gate.join(far)
}

// stream is a connection of which one direction can end before the other.
type stream interface {
	net.Conn
	CloseWrite() error
}

// relay is one connection through the gate.
type relay struct{ near, far stream }

func (r *relay) end() { _, _ = r.near.Close(), r.far.Close() }

// join gives the near end of a new relay to far.
func (g *Gate) join(conn net.Conn) (net.Conn, error) {
	far, ok := conn.(stream)
	if !ok {
		return nil, errors.Join(errors.New("not a connection of streams"), conn.Close())
	}
	own, near, err := socketPair()
	if err != nil {
		return nil, errors.Join(err, far.Close())
	}
	r := &relay{near, far}
	g.mu.Lock()
	defer g.mu.Unlock()
	if closed(g.gone) {
		r.end()
		return nil, errors.Join(errGone, own.Close())
	}
	g.relays[r] = true
	go g.carry(r)
	return own, nil
}

// carry lives as long as the relay.
func (g *Gate) carry(r *relay) {
	var wg sync.WaitGroup
	wg.Go(func() { g.pump(r.far, r.near, r) })
	wg.Go(func() { g.pump(r.near, r.far, r) })
	wg.Wait()
	r.end()
	g.mu.Lock()
	delete(g.relays, r)
	g.mu.Unlock()
}

// pump carries one direction to its end, and tells of the end when it may.
func (g *Gate) pump(to, from stream, r *relay) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if g.pass(context.Background()) != nil {
			return
		}
		if _, failed := to.Write(buffer[:n]); failed != nil {
			r.end() // nobody reads it any more
			return
		}
		if err != nil {
			_ = to.CloseWrite() // the only error is that it is closed
			return
		}
	}
}

func socketPair() (net.Conn, stream, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ends := [2]net.Conn{}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "gate")
		end, failed := net.FileConn(f) // a descriptor of its own
		f.Close()
		ends[i], err = end, errors.Join(err, failed)
	}
	if err != nil {
		for _, end := range ends {
			if end != nil {
				end.Close()
			}
		}
		return nil, nil, err
	}
	return ends[0], ends[1].(*net.UnixConn), nil
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
