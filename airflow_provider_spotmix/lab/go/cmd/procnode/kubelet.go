package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// The kubelet's defaults for streams.
const (
	streamIdle     = 4 * time.Hour
	streamCreation = 30 * time.Second
)

// execProtocols are the versions of the exec protocol that the API server may ask for.
var execProtocols = []string{"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io"}

// kubeletClients is who may use the kubelet API: the holder of a certificate, or, if there is none, everyone.
type kubeletClients struct{ pool *x509.CertPool }

func loadKubeletClients(path string) (kubeletClients, error) {
	if path == "" {
		slog.Warn("no --kubelet-client-ca: every user of this machine may read logs and run commands in the pods")
		return kubeletClients{}, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return kubeletClients{}, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return kubeletClients{}, fmt.Errorf("%s: holds no PEM certificate", path)
	}
	return kubeletClients{pool}, nil
}

func (k kubeletClients) serverConfig(certificate tls.Certificate) *tls.Config {
	cfg := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if k.pool != nil {
		cfg.ClientCAs, cfg.ClientAuth = k.pool, tls.RequireAndVerifyClientCert
	}
	return cfg
}

// kubeletAPI is the part of the kubelet's API that `kubectl logs` and `kubectl exec` need.
func (n *node) kubeletAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", n.serveLogs)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", n.serveExec)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.frozen.happened() { // it takes connections, as the kernel of a stopped process does, and says nothing
			<-r.Context().Done()
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// requested finds the container that a request names, or answers it.
func (n *node) requested(w http.ResponseWriter, r *http.Request) *container {
	p := n.pods.find(r.PathValue("namespace"), r.PathValue("pod"))
	if p == nil {
		http.Error(w, fmt.Sprintf("node %s does not run pod %s/%s", n.def.Name, r.PathValue("namespace"), r.PathValue("pod")),
			http.StatusNotFound)
		return nil
	}
	for _, c := range p.containers() {
		if c.spec.Name == r.PathValue("container") {
			return c
		}
	}
	http.Error(w, fmt.Sprintf("pod %s has no container %q", p.key(), r.PathValue("container")), http.StatusNotFound)
	return nil
}

func (n *node) serveLogs(w http.ResponseWriter, r *http.Request) {
	c := n.requested(w, r)
	if c == nil {
		return
	}
	options, err := parseLogOptions(r.URL.Query(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	attempt, ended := c.logOf(options.previous)
	if attempt < 0 {
		http.Error(w, c.noLog(options.previous), http.StatusBadRequest)
		return
	}
	path := c.pod.logPath(c.spec.Name, attempt)
	if _, err := os.Stat(path); err != nil {
		http.Error(w, fmt.Sprintf("the log of container %s is gone", c.spec.Name), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	if err := copyLog(w, path, options, ended, r.Context().Done()); err != nil && r.Context().Err() == nil {
		slog.Warn("serve a log", "pod", c.pod.key(), "container", c.spec.Name, "error", err)
	}
}

// logOf is the number of the attempt whose log is asked for, -1 if there is none, and a channel that is closed when
// that attempt is over.
func (c *container) logOf(previous bool) (int, <-chan struct{}) {
	over := make(chan struct{})
	close(over)
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if previous {
		return c.attempts - 2, over
	}
	if c.ended == nil {
		return c.attempts - 1, over
	}
	return c.attempts - 1, c.ended
}

func (c *container) noLog(previous bool) string {
	if previous {
		return fmt.Sprintf("previous terminated container %q in pod %q not found", c.spec.Name, c.pod.name())
	}
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	reason := "ContainerCreating"
	if c.state.Waiting != nil {
		reason = c.state.Waiting.Reason
	}
	return fmt.Sprintf("container %q in pod %q is waiting to start: %s", c.spec.Name, c.pod.obj.Name, reason)
}

func (n *node) serveExec(w http.ResponseWriter, r *http.Request) {
	c := n.requested(w, r)
	if c == nil {
		return
	}
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, executor{c}, c.pod.name(), string(c.pod.uid), c.spec.Name, r.URL.Query()["command"], options,
		streamIdle, streamCreation, execProtocols)
}

// executor runs commands in a container for the exec protocol.
type executor struct{ container *container }

// ExecInContainer implements [remotecommand.Executor].
func (e executor) ExecInContainer(
	ctx context.Context, _, _, _ string, args []string, in io.Reader, out, errOut io.WriteCloser, tty bool,
	resize <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	c := e.container
	c.pod.mu.Lock()
	process := c.process
	c.pod.mu.Unlock()
	if process == nil {
		return fmt.Errorf("container %s of pod %s does not run", c.spec.Name, c.pod.key())
	}
	cmd := process.Enter(ctx, args...)
	var err error
	if tty {
		err = runOnTerminal(cmd, in, out, resize)
	} else {
		err = runOnStreams(cmd, in, out, errOut)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return utilexec.CodeExitError{Err: err, Code: exitCode(exit)}
	}
	return err
}

// exitCode is 128 + signal for what a signal ended, as a shell tells it.
func exitCode(e *exec.ExitError) int {
	if signal, ok := endSignal(e); ok {
		return 128 + signal
	}
	return e.ExitCode()
}

func runOnStreams(cmd *exec.Cmd, in io.Reader, out, errOut io.Writer) error {
	if out != nil { // a nil io.Writer, not an interface that holds one
		cmd.Stdout = out
	}
	if errOut != nil {
		cmd.Stderr = errOut
	}
	if in == nil {
		return cmd.Run()
	}
	// A pipe of our own: with cmd.Stdin the end of the command would wait for the end of the input.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(stdin, in)
		_ = stdin.Close()
	}()
	return cmd.Run()
}
