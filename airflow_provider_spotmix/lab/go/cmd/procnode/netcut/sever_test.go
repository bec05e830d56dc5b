package netcut

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// silence is how long nothing must be heard where something would come at once.
const silence = 300 * time.Millisecond

const echoVariable = "NETCUT_TEST_ECHO"

func TestMain(m *testing.M) {
	if os.Getenv(echoVariable) != "" {
		echo()
		return
	}
	os.Exit(m.Run())
}

// echo is a process of its own that answers on every IPv4 address, and ends with its input.
func echo() {
	config := net.ListenConfig{}
	config.SetMultipathTCP(false) // as other programs than those in Go
	l, err := config.Listen(context.Background(), "tcp4", "0.0.0.0:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// startEcho returns the process's id and port.
func startEcho(t *testing.T) (int, string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{echoVariable + "=yes"}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, strings.TrimSpace(port)
}

func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// hear reads as much as text has, however long it takes.
func hear(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v, want %q", got, err, text)
	}
}

func hearNothing(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(silence))
	got := make([]byte, 1)
	if n, err := c.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q, %v, want nothing", got[:n], err)
	}
}

func sever(t *testing.T, inside, outside []int) {
	t.Helper()
	err := (Severed{}).Sever(inside, outside)
	if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
		t.Skip("this kernel lets only root filter sockets: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestASeveredProcessIsSilentUntilMended(t *testing.T) {
	pid, port := startEcho(t)
	there := "127.0.77.2:" + port
	c := connect(t, there)
	say(t, c, "before")
	hear(t, c, "before")
	for range 2 {
		sever(t, []int{pid}, []int{os.Getpid()})
	}
	say(t, c, "meanwhile")
	hearNothing(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), silence)
	defer cancel()
	if _, err := (&net.Dialer{}).DialContext(ctx, "tcp", there); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a new connection: %v", err)
	}
	inPod := connect(t, "127.0.0.1:"+port)
	say(t, inPod, "at home")
	hear(t, inPod, "at home")
	if err := Mend([]int{pid, os.Getpid()}); err != nil {
		t.Fatal(err)
	}
	hear(t, c, "meanwhile")
	say(t, connect(t, there), "after")
}

func TestConnectionsAmongTheInsidersStay(t *testing.T) {
	pid, port := startEcho(t)
	c := connect(t, "127.0.77.2:"+port)
	say(t, c, "before")
	hear(t, c, "before")
	both := []int{pid, os.Getpid()}
	sever(t, both, nil)
	defer func() { _ = Mend(both) }()
	say(t, c, "after")
	hear(t, c, "after")
}

func TestAProcessThatHasEndedHasNoSockets(t *testing.T) {
	if err := errors.Join((Severed{}).Sever([]int{1 << 30}, nil), Mend([]int{1 << 30})); err != nil {
		t.Error(err)
	}
}
