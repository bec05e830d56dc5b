package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"spotmix.io/lab/cmd/procnode/sandbox"
)

// etcOwn are the files of /etc that a container does not share with the host.
var etcOwn = []string{"hosts", "hostname", "resolv.conf"}

// ownFiles are the host paths of what one attempt to run a container needs apart from volumes and image.
type ownFiles struct {
	hosts, hostname string // /etc/hosts (shared by all pods) and /etc/hostname
	tmp             string // /tmp, on disk: Spark writes much there; empty: in the root
	passwd          string // /etc/passwd; empty: the host's
	terminationLog  string // where terminationMessagePath points
}

// planMounts lists how a container's root is built: the host's programs, its /etc, the image's tree, then volumes, the
// outer before the inner. volumes are host paths by volume name; subPathExpr is expanded with env.
func planMounts(c *corev1.Container, im *Image, own ownFiles, volumes, env map[string]string) ([]sandbox.Mount, error) {
	skip := etcOwn
	if own.passwd != "" {
		skip = append(slices.Clone(skip), "passwd")
	}
	etc, err := sandbox.Spread("/etc", "/etc", skip...)
	if err != nil {
		return nil, err
	}
	mounts := append(sandbox.Base(), etc...)
	mounts = append(mounts,
		sandbox.Mount{Kind: sandbox.Bind, Source: own.hosts, Target: "/etc/hosts", ReadOnly: true},
		sandbox.Mount{Kind: sandbox.Bind, Source: own.hostname, Target: "/etc/hostname", ReadOnly: true},
	)
	if own.passwd != "" {
		mounts = append(mounts, sandbox.Mount{Kind: sandbox.Bind, Source: own.passwd, Target: "/etc/passwd", ReadOnly: true})
	}
	if own.tmp != "" {
		mounts = append(mounts, sandbox.Mount{Kind: sandbox.Bind, Source: own.tmp, Target: "/tmp"})
	}
	// Often a link to where containers have nothing; bound, so that names of the outside resolve as on the host.
	if resolv, err := filepath.EvalSymlinks("/etc/resolv.conf"); err == nil {
		mounts = append(mounts, sandbox.Mount{Kind: sandbox.Bind, Source: resolv, Target: "/etc/resolv.conf", ReadOnly: true})
	}
	tree, err := planImage(im)
	if err != nil {
		return nil, err
	}
	vols, err := planVolumes(c, volumes, env)
	if err != nil {
		return nil, err
	}
	log := sandbox.Mount{Kind: sandbox.Bind, Source: own.terminationLog, Target: terminationPath(c)}
	return append(append(append(mounts, tree...), vols...), log), nil
}

func planImage(im *Image) ([]sandbox.Mount, error) {
	mounts := []sandbox.Mount{}
	for _, item := range im.Tree {
		if !item.Spread {
			mounts = append(mounts, sandbox.Mount{Kind: sandbox.Bind, Source: item.Src, Target: item.Dst, ReadOnly: true})
			continue
		}
		spread, err := sandbox.Spread(item.Src, item.Dst)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, spread...)
	}
	return mounts, nil
}

func planVolumes(c *corev1.Container, volumes, env map[string]string) ([]sandbox.Mount, error) {
	mounts := make([]sandbox.Mount, 0, len(c.VolumeMounts))
	for _, m := range c.VolumeMounts {
		source, ok := volumes[m.Name]
		if !ok {
			return nil, fmt.Errorf("volume mount %s: the pod has no such volume", m.Name)
		}
		sub := m.SubPath
		if m.SubPathExpr != "" {
			sub = expand(m.SubPathExpr, env)
		}
		if sub != "" {
			path, err := makeSubPath(source, sub)
			if err != nil {
				return nil, fmt.Errorf("volume mount %s: %w", m.Name, err)
			}
			source = path
		}
		target := filepath.Join("/", m.MountPath)
		mounts = append(mounts, sandbox.Mount{Kind: sandbox.Bind, Source: source, Target: target, ReadOnly: m.ReadOnly})
	}
	sort.SliceStable(mounts, func(i, j int) bool { return depth(mounts[i].Target) < depth(mounts[j].Target) })
	return mounts, nil
}

func depth(path string) int { return strings.Count(path, "/") }

// makeSubPath makes a missing directory as the kubelet does, and refuses a path that leads out of the volume.
func makeSubPath(volume, sub string) (string, error) {
	root, err := os.OpenRoot(volume)
	if err != nil {
		return "", err
	}
	defer root.Close()
	if _, err := root.Stat(sub); os.IsNotExist(err) {
		err = root.MkdirAll(sub, 0o750)
		if err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	return filepath.Join(volume, sub), nil
}

func terminationPath(c *corev1.Container) string {
	if c.TerminationMessagePath == "" {
		return corev1.TerminationMessagePathDefault
	}
	return c.TerminationMessagePath
}
