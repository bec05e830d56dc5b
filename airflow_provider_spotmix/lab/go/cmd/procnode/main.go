// Command procnode is the nodes of a rehearsal lab: Kubernetes nodes whose pods are local processes in namespaces of
// their own. One process runs all nodes of a lab. README.md next to go.mod tells its configuration and control API.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"spotmix.io/lab/cmd/procnode/sandbox"
)

// registrationLimit bounds the wait for a node's registration.
const registrationLimit = 30 * time.Second

// The API server's clients share one budget of requests; a lab's nodes are few and their pods come in bursts.
const (
	clientQPS   = 200
	clientBurst = 400
)

// machine is what all nodes of this process share.
type machine struct {
	cfg            *Config
	access         *rest.Config
	client         kubernetes.Interface // for what belongs to no node
	launcher       *sandbox.Launcher
	stateDir       string
	hosts          *hostsFile
	kubeletClients kubeletClients
	partition      partition

	mu    sync.Mutex
	nodes map[string]*node // those that live
}

type flags struct {
	config, kubeconfig, stateDir, control, tokenFile, kubeletClientCA string
}

func main() {
	sandbox.RunIfChild()
	var f flags
	flag.StringVar(&f.config, "config", "", "JSON `file` of nodes and images")
	flag.StringVar(&f.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "`file` that names the API server and a user who may impersonate the nodes and read services")
	flag.StringVar(&f.stateDir, "state-dir", "", "`directory` of this process alone, for logs, volumes and the hosts file")
	flag.StringVar(&f.control, "control", "", "`address` 127.x.y.z:PORT of the control API")
	flag.StringVar(&f.tokenFile, "control-token-file", "", "`file` with the bearer token of the control API")
	flag.StringVar(&f.kubeletClientCA, "kubelet-client-ca", "", "`file` with the certificate that users of the kubelet API must have")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, f)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "procnode:", err)
		os.Exit(1)
	}
}

// run runs the nodes until ctx ends. Their pods go on; the next process takes them over.
func run(ctx context.Context, f flags) error {
	m, token, err := prepare(f)
	if err != nil {
		return err
	}
	go m.watchMemory(ctx)
	if err := m.hosts.follow(ctx, m); err != nil {
		return err
	}
	for _, def := range m.cfg.Nodes {
		if ctx.Err() != nil {
			return nil
		}
		if err := m.beginNode(ctx, def); err != nil {
			return err
		}
	}
	m.hosts.complete.set()
	// Only now: an answer means that everything is as it was before this process.
	control := &http.Server{Addr: f.control, Handler: m.controlAPI(token), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- control.ListenAndServe() }()
	defer control.Close()
	slog.Info("all nodes are registered", "nodes", len(m.cfg.Nodes), "rootless", m.launcher.Rootless())
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return fmt.Errorf("control API at %s: %w", f.control, err)
	}
}

func prepare(f flags) (*machine, string, error) {
	for name, value := range map[string]string{
		"config": f.config, "state-dir": f.stateDir, "control": f.control, "control-token-file": f.tokenFile,
	} {
		if value == "" {
			return nil, "", fmt.Errorf("--%s is missing; see --help", name)
		}
	}
	cfg, err := loadConfig(f.config)
	if err != nil {
		return nil, "", err
	}
	token, err := readToken(f.tokenFile)
	if err != nil {
		return nil, "", err
	}
	clients, err := loadKubeletClients(f.kubeletClientCA)
	if err != nil {
		return nil, "", err
	}
	access, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	if err != nil {
		return nil, "", fmt.Errorf("--kubeconfig %s: %w", f.kubeconfig, err)
	}
	access.QPS, access.Burst = clientQPS, clientBurst
	if err := cfg.APIServer.complete(access); err != nil {
		return nil, "", err
	}
	client, err := kubernetes.NewForConfig(access)
	if err != nil {
		return nil, "", err
	}
	m := &machine{cfg: cfg, access: access, client: client, kubeletClients: clients, nodes: map[string]*node{}}
	m.partition.machine = m
	return m, token, m.prepareState(f.stateDir)
}

// clientOf acts as a node: the API server lets it do what a kubelet may, for its own node and pods.
// https://kubernetes.io/docs/reference/access-authn-authz/node/
func (m *machine) clientOf(n *node) (kubernetes.Interface, error) {
	access := rest.CopyConfig(m.access)
	access.Dial = n.gate.DialContext
	access.Impersonate = rest.ImpersonationConfig{UserName: "system:node:" + n.def.Name, Groups: []string{"system:nodes"}}
	return kubernetes.NewForConfig(access)
}

// complete takes what is not configured from the kubeconfig's server.
func (a *APIServer) complete(access *rest.Config) error {
	u, err := url.Parse(access.Host)
	if err != nil {
		return fmt.Errorf("server %q of the kubeconfig: %w", access.Host, err)
	}
	if a.Host == "" {
		a.Host = u.Hostname()
	}
	if a.Port == 0 {
		a.Port, err = strconv.Atoi(u.Port())
		if u.Port() == "" {
			a.Port, err = 443, nil
		}
	}
	return err
}

// beginNode lets a node be what it was before this process: dead, frozen, alive, or alive behind a broken network. The
// network is whole for as long as it takes to take over the node's pods.
func (m *machine) beginNode(ctx context.Context, def NodeConfig) error {
	fate := m.fate(def.Name)
	switch fate {
	case dead:
		m.purge(func(r podRecord) bool { return r.Node == def.Name }) // what was left when its death was cut short
		return nil
	case frozen:
		return m.keepFrozen(def)
	}
	if _, err := m.runNode(ctx, def); err != nil {
		return err
	}
	slog.Info("node is registered", "node", def.Name, "ip", def.IP)
	if fate == alive {
		return nil
	}
	_, err := m.cutNode(def.Name, cut(fate))
	return err
}

// prepareState makes the state directory, and removes from it what belongs to no node any more.
func (m *machine) prepareState(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	m.stateDir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if m.launcher, err = sandbox.NewLauncher(dir); err != nil {
		return err
	}
	m.purge(func(r podRecord) bool {
		_, err := m.cfg.node(r.Node)
		return err != nil
	})
	m.hosts, err = newHostsFile(filepath.Join(dir, "hosts"), m.cfg.APIServer.Host, m.hostEntries)
	return err
}

// pods are those of the nodes that live.
func (m *machine) pods() []*pod {
	m.mu.Lock()
	nodes := make([]*node, 0, len(m.nodes))
	for _, def := range m.cfg.Nodes {
		if n := m.nodes[def.Name]; n != nil {
			nodes = append(nodes, n)
		}
	}
	m.mu.Unlock()
	out := []*pod{}
	for _, n := range nodes {
		out = append(out, n.pods.list()...)
	}
	return out
}

func (m *machine) hostEntries() []hostEntry {
	out := []hostEntry{}
	for _, p := range m.pods() {
		obj := p.object()
		if !p.ended.happened() && p.ip != "" {
			out = append(out, hostEntry{namespace: obj.Namespace, ip: p.ip, labels: obj.Labels})
		}
	}
	return out
}
