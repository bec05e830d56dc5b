package netcut

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// answering is the address of a server that answers everything with itself.
func answering(t *testing.T, wrap func(net.Listener) net.Listener) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	gated := wrap(l)
	go func() {
		for {
			c, err := gated.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func plain(l net.Listener) net.Listener { return l }

func TestAShutGateHoldsBackAndLosesNothing(t *testing.T) {
	g := NewGate()
	defer g.Close()
	for name, c := range map[string]net.Conn{
		"dialled":  must(g.DialContext(t.Context(), "tcp", answering(t, plain)))(t),
		"accepted": must(net.Dial("tcp", answering(t, g.Listener)))(t),
	} {
		t.Run(name, func(t *testing.T) {
			say(t, c, "before")
			hear(t, c, "before")
			g.Shut()
			say(t, c, "meanwhile")
			hearNothing(t, c)
			g.Open()
			hear(t, c, "meanwhile")
		})
	}
}

func must(c net.Conn, err error) func(*testing.T) net.Conn {
	return func(t *testing.T) net.Conn {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

func TestNobodyConnectsThroughAShutGate(t *testing.T) {
	g := NewGate()
	defer g.Close()
	address := answering(t, plain)
	g.Shut()
	ctx, cancel := context.WithTimeout(t.Context(), silence)
	defer cancel()
	if _, err := g.DialContext(ctx, "tcp", address); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestTheEndOfAConnectionPassesToo(t *testing.T) {
	g := NewGate()
	defer g.Close()
	c := must(g.DialContext(t.Context(), "tcp", answering(t, plain)))(t)
	say(t, c, "last")
	if err := c.(stream).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if got, err := io.ReadAll(c); string(got) != "last" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestACloseOfTheGateEndsWhatWaitsAtIt(t *testing.T) {
	g := NewGate()
	c := must(g.DialContext(t.Context(), "tcp", answering(t, plain)))(t)
	g.Shut()
	say(t, c, "never")
	g.Close()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := c.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Errorf("got %d bytes, %v", n, err)
	}
	if _, err := g.DialContext(t.Context(), "tcp", "127.0.0.1:1"); !errors.Is(err, errGone) {
		t.Errorf("got %v", err)
	}
}

func TestNothingStaysOfAConnectionThatHasEnded(t *testing.T) {
	g := NewGate()
	defer g.Close()
	c := must(g.DialContext(t.Context(), "tcp", answering(t, g.Listener)))(t)
	say(t, c, "hello")
	hear(t, c, "hello")
	c.Close()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		g.mu.Lock()
		left := len(g.relays)
		g.mu.Unlock()
		if left == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d relays are left", left)
		}
	}
}
