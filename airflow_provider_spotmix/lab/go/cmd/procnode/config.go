package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Config is the file given by --config.
type Config struct {
	Nodes     []NodeConfig `json:"nodes"`
	Images    []Image      `json:"images"`
	APIServer APIServer    `json:"apiServer"`
}

// NodeConfig is one node. IP and the pods' addresses must not be used by another node or lab on the same machine.
type NodeConfig struct {
	Name   string            `json:"name"`
	IP     string            `json:"ip"`     // 127.x.y.z: where the kubelet API listens, on port 10250
	PodNet string            `json:"podNet"` // 127.x.y: the pods get 127.x.y.2 to 127.x.y.254
	CPU    string            `json:"cpu"`    // Kubernetes quantities; what the scheduler may hand out, not enforced
	Memory string            `json:"memory"`
	Labels map[string]string `json:"labels"`
	Taints []corev1.Taint    `json:"taints"`
}

// APIServer is where pods reach the API server (KUBERNETES_SERVICE_HOST and _PORT, and the name kubernetes.default.svc).
type APIServer struct {
	Host string `json:"host"` // default: host and port of the kubeconfig
	Port int    `json:"port"`
}

// Image says how a container image's name becomes a file tree.
type Image struct {
	Match      string            `json:"match"`      // a part of the image's name; the first image that matches is taken
	Entrypoint []string          `json:"entrypoint"` // as in an image: a container's command replaces it
	Cmd        []string          `json:"cmd"`        // as in an image: the arguments of a container without command and args
	Workdir    string            `json:"workdir"`    // default /
	Env        map[string]string `json:"env"`        // may use $(PROCNODE_POD_IP) and the other variables of every pod
	Tree       []TreeItem        `json:"tree"`
}

// TreeItem binds a file or directory of the host into the container, read-only.
type TreeItem struct {
	Src    string `json:"src"`
	Dst    string `json:"dst"`
	Spread bool   `json:"spread"` // dst itself is writable, each entry of src is bound below it: volumes may be mounted there
}

func loadConfig(path string) (*Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	cfg := &Config{}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(cfg); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cfg, nil
}

// validate returns all that is wrong, each with its field, value and rule.
func (c *Config) validate() error {
	var errs []error
	if len(c.Nodes) == 0 {
		errs = append(errs, errors.New("nodes: is empty; give at least one node"))
	}
	seen := map[string]string{}
	for i, n := range c.Nodes {
		field := fmt.Sprintf("nodes[%d]", i)
		errs = append(errs, n.validate(field)...)
		for _, key := range []string{"name " + n.Name, "ip " + n.IP, "podNet " + n.PodNet} {
			if other, ok := seen[key]; ok {
				errs = append(errs, fmt.Errorf("%s: has the same %s as %s; each node needs its own", field, key, other))
			}
			seen[key] = field
		}
	}
	for i, im := range c.Images {
		errs = append(errs, im.validate(fmt.Sprintf("images[%d]", i))...)
	}
	return errors.Join(errs...)
}

func (n NodeConfig) validate(field string) []error {
	var errs []error
	if n.Name == "" {
		errs = append(errs, fmt.Errorf("%s.name: is empty", field))
	}
	if !loopback(n.IP) {
		errs = append(errs, fmt.Errorf("%s.ip: %q is not an address of 127.0.0.0/8", field, n.IP))
	}
	if !loopback(n.PodNet + ".2") {
		errs = append(errs, fmt.Errorf("%s.podNet: %q is not the first three parts of an address of 127.0.0.0/8", field, n.PodNet))
	}
	for name, value := range map[string]string{"cpu": n.CPU, "memory": n.Memory} {
		if _, err := resource.ParseQuantity(value); err != nil {
			errs = append(errs, fmt.Errorf("%s.%s: %q is not a quantity such as 4 or 8Gi", field, name, value))
		}
	}
	return errs
}

func loopback(ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && a.Is4() && a.IsLoopback()
}

func (im Image) validate(field string) []error {
	var errs []error
	if im.Match == "" {
		errs = append(errs, fmt.Errorf("%s.match: is empty; give a part of the image's name", field))
	}
	for i, t := range im.Tree {
		if _, err := os.Stat(t.Src); err != nil {
			errs = append(errs, fmt.Errorf("%s.tree[%d].src: %w", field, i, err))
		}
		if !filepath.IsAbs(t.Dst) {
			errs = append(errs, fmt.Errorf("%s.tree[%d].dst: %q is not an absolute path", field, i, t.Dst))
		}
	}
	return errs
}

// image finds the recipe for a container image.
func (c *Config) image(name string) (*Image, error) {
	matches := make([]string, 0, len(c.Images))
	for i := range c.Images {
		if strings.Contains(name, c.Images[i].Match) {
			return &c.Images[i], nil
		}
		matches = append(matches, c.Images[i].Match)
	}
	return nil, fmt.Errorf("no recipe for image %q: it contains none of %q", name, matches)
}

func (c *Config) node(name string) (NodeConfig, error) {
	names := make([]string, 0, len(c.Nodes))
	for _, n := range c.Nodes {
		if n.Name == name {
			return n, nil
		}
		names = append(names, n.Name)
	}
	return NodeConfig{}, fmt.Errorf("unknown node %q; nodes of this process: %s", name, strings.Join(names, ", "))
}
