package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"time"

	vk "github.com/virtual-kubelet/virtual-kubelet/node"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	clientcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"spotmix.io/lab/cmd/procnode/netcut"
)

// The kubelet's port, and its heartbeats made four times as frequent: a rehearsal should not wait for a dead node.
const (
	kubeletPort     = 10250
	leaseSeconds    = 10
	leaseInterval   = 2500 * time.Millisecond
	statusInterval  = 10 * time.Second
	maxPods         = "110"
	ephemeralMemory = "50Gi" // told to the scheduler, not enforced
)

// kubeletVersion is what the node reports; build metadata tells that it is no kubelet.
const kubeletVersion = "v1.36.3+procnode"

// node is one Kubernetes node: its registration and heartbeats, its pods, its kubelet API.
type node struct {
	machine *machine
	def     NodeConfig
	client  kubernetes.Interface // as system:node:NAME
	cancel  context.CancelFunc
	events  record.EventRecorder
	sink    record.EventBroadcaster
	pods    *podController
	server  *http.Server
	ready   <-chan struct{}
	frozen  *event
	gate    *netcut.Gate    // between the node and the API server, both ways
	cut     cut             // guarded by partition.mu
	left    <-chan struct{} // closed when this process does nothing for the node any more
}

// startNode registers a node, takes over the pods that an earlier process of it ran, and begins to run what is bound to
// it. begin bounds the takeover, not the node's life.
func startNode(begin context.Context, m *machine, def NodeConfig) (*node, error) {
	n := &node{machine: m, def: def, frozen: newEvent(), gate: netcut.NewGate()}
	client, err := m.clientOf(n)
	if err != nil {
		return nil, err
	}
	n.client = client
	n.pods = newPodController(n)
	object := n.object()
	n.keepTransitions(begin, object)
	controller, err := vk.NewNodeController(vk.NaiveNodeProvider{}, object, client.CoreV1().Nodes(),
		vk.WithNodeEnableLeaseV1WithRenewInterval(client.CoordinationV1().Leases(corev1.NamespaceNodeLease), leaseSeconds, leaseInterval),
		vk.WithNodeStatusUpdateInterval(statusInterval))
	if err != nil {
		return nil, err
	}
	n.ready = controller.Ready()
	if err := n.listen(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel, n.left = cancel, ctx.Done()
	n.sink = record.NewBroadcaster(record.WithContext(ctx))
	n.sink.StartRecordingToSink(&clientcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	n.events = n.sink.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "procnode", Host: def.Name})
	go func() {
		if err := controller.Run(ctx); err != nil && ctx.Err() == nil {
			slog.Error("node registration ended", "node", def.Name, "error", err)
		}
	}()
	if err := errors.Join(n.pods.adopt(begin, ctx), n.pods.watch(ctx)); err != nil {
		n.leave()
		return nil, err
	}
	return n, nil
}

// keepTransitions takes over since when the conditions are as they are: a restart of this process changes none.
func (n *node) keepTransitions(ctx context.Context, object *corev1.Node) {
	before, err := n.client.CoreV1().Nodes().Get(ctx, n.def.Name, metav1.GetOptions{})
	if err != nil { // there is none, or the registration will tell
		return
	}
	for i := range object.Status.Conditions {
		condition := &object.Status.Conditions[i]
		for _, old := range before.Status.Conditions {
			if old.Type == condition.Type && old.Status == condition.Status {
				condition.LastTransitionTime = old.LastTransitionTime
			}
		}
	}
}

// listen serves the kubelet API.
func (n *node) listen() error {
	listener, err := net.Listen("tcp", net.JoinHostPort(n.def.IP, fmt.Sprint(kubeletPort)))
	if err != nil {
		return fmt.Errorf("kubelet API of node %s (is another lab using this address?): %w", n.def.Name, err)
	}
	certificate, err := selfSigned(n.def)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	n.server = &http.Server{
		Handler: n.kubeletAPI(), ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: n.machine.kubeletClients.serverConfig(certificate),
	}
	go func() { _ = n.server.ServeTLS(n.gate.Listener(listener), "", "") }() // ends with Close
	return nil
}

// leave ends what this process does for the node; the node's pods go on.
func (n *node) leave() {
	n.cancel()
	_ = n.server.Close()
	n.gate.Close()
}

// die is what a power cut is to a node: from one moment to the next no heartbeat, no kubelet API, no process, and no
// word to the API server about any of it. It returns when all processes are gone.
func (n *node) die() {
	n.leave()
	n.pods.killAll()
	n.machine.purge(func(r podRecord) bool { return r.Node == n.def.Name })
	if n.sink != nil {
		n.sink.Shutdown()
	}
}

func (n *node) capacity() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(n.def.CPU), corev1.ResourceMemory: resource.MustParse(n.def.Memory),
		corev1.ResourcePods: resource.MustParse(maxPods), corev1.ResourceEphemeralStorage: resource.MustParse(ephemeralMemory),
	}
}

func (n *node) object() *corev1.Node {
	labels := map[string]string{
		corev1.LabelHostname: n.def.Name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: runtime.GOARCH, "type": "procnode",
	}
	maps.Copy(labels, n.def.Labels)
	now := metav1.Now()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.def.Name, Labels: labels},
		Spec:       corev1.NodeSpec{Taints: n.def.Taints},
		Status: corev1.NodeStatus{
			Capacity: n.capacity(), Allocatable: n.capacity(),
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion: kubeletVersion, OperatingSystem: "linux", Architecture: runtime.GOARCH, OSImage: "host",
				ContainerRuntimeVersion: "procnode://1",
			},
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: n.def.IP}, {Type: corev1.NodeHostName, Address: n.def.Name},
			},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort}},
			Conditions: []corev1.NodeCondition{
				condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory"),
				condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure"),
				condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID"),
				condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady"),
			},
		},
	}
}

// selfSigned makes the certificate of a node's kubelet API, as a kubelet without one does.
func selfSigned(def NodeConfig) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: def.Name}, DNSNames: []string{def.Name},
		IPAddresses: []net.IP{net.ParseIP(def.IP)}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
