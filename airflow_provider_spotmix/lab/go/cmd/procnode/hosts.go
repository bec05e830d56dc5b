package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sort"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// hostsFile is the /etc/hosts of all pods, and stands in for the cluster's DNS: a service's names lead straight to the
// pods that it selects. (A service's port must therefore be its target port.) It is bound into running containers, so
// it is rewritten in place, never replaced.
type hostsFile struct {
	path string
	api  string // address of the API server
	pods func() []hostEntry
	kick chan struct{}

	complete *event // all pods are known; before that a write would take names away from those that run

	mu       sync.Mutex
	services corelisters.ServiceLister
	last     string
}

// hostEntry is a pod that names may lead to.
type hostEntry struct {
	namespace, ip string
	labels        map[string]string
}

// newHostsFile takes over the file of an earlier process of the node, which containers may have open.
func newHostsFile(path, api string, pods func() []hostEntry) (*hostsFile, error) {
	h := &hostsFile{path: path, api: api, pods: pods, kick: make(chan struct{}, 1), complete: newEvent()}
	text, err := os.ReadFile(path)
	if err == nil {
		h.last = string(text)
		return h, nil
	}
	return h, os.WriteFile(path, []byte(renderHosts(api, nil, nil)), 0o644)
}

// follow keeps the file up to date with services and pods until ctx ends. It returns when services are known.
func (h *hostsFile) follow(ctx context.Context, m *machine) error {
	factory := informers.NewSharedInformerFactory(m.client, 0)
	services := factory.Core().V1().Services()
	h.services = services.Lister()
	changed := func(any) { h.changed() }
	_, err := services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: changed, UpdateFunc: func(_, _ any) { h.changed() }, DeleteFunc: changed,
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	go func() {
		select {
		case <-ctx.Done():
			return
		case <-h.complete.done():
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-h.kick:
			}
			if err := h.write(); err != nil {
				slog.Error("write the hosts file", "error", err)
			}
		}
	}()
	return nil
}

// changed asks for the file to be written anew, soon.
func (h *hostsFile) changed() {
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

func (h *hostsFile) write() error {
	services, err := h.services.List(labels.Everything())
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	text := renderHosts(h.api, services, h.pods())
	if text == h.last {
		return nil
	}
	f, err := os.OpenFile(h.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// A reader in between must not find an empty file, nor half a line of the old text after the new one.
	if padding := len(h.last) - len(text); padding > 0 {
		_, err = f.WriteAt([]byte(text+strings.Repeat("\n", padding)), 0)
	} else {
		_, err = f.WriteAt([]byte(text), 0)
	}
	if err != nil {
		return err
	}
	h.last = text
	return f.Truncate(int64(len(text)))
}

// renderHosts is the file's text, sorted, so that it changes only when a name does.
func renderHosts(api string, services []*corev1.Service, pods []hostEntry) string {
	lines := []string{}
	for _, s := range services {
		if s.Namespace == corev1.NamespaceDefault && s.Name == "kubernetes" || len(s.Spec.Selector) == 0 {
			continue
		}
		selector := labels.SelectorFromSet(s.Spec.Selector)
		for _, p := range pods {
			if p.namespace == s.Namespace && selector.Matches(labels.Set(p.labels)) {
				lines = append(lines, fmt.Sprintf("%s %s", p.ip, serviceNames(s.Namespace, s.Name)))
			}
		}
	}
	sort.Strings(lines)
	head := []string{"127.0.0.1 localhost", api + " " + serviceNames(corev1.NamespaceDefault, "kubernetes")}
	return strings.Join(append(head, lines...), "\n") + "\n"
}

func serviceNames(namespace, name string) string {
	base := name + "." + namespace
	return fmt.Sprintf("%s.svc.cluster.local %s.svc %s", base, base, base)
}
