package main

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// defaultPath is what container runtimes set where an image says nothing.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// expand replaces $(NAME) by its value as the API documents it: unknown names stay, $$(NAME) is a literal $(NAME).
func expand(s string, env map[string]string) string {
	return expansion.Expand(s, expansion.MappingFuncFor(env))
}

func expandAll(list []string, env map[string]string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = expand(s, env)
	}
	return out
}

// baseEnv is what every container of the pod has before its image and its spec add to it.
func (p *pod) baseEnv() map[string]string {
	api := p.node.machine.cfg.APIServer
	port := strconv.Itoa(api.Port)
	return map[string]string{
		"PATH": defaultPath, "HOME": "/root", "HOSTNAME": p.name(),
		"KUBERNETES_SERVICE_HOST": api.Host, "KUBERNETES_SERVICE_PORT": port, "KUBERNETES_SERVICE_PORT_HTTPS": port,
		"PROCNODE_POD_IP": p.ip,
	}
}

// environment is the whole environment of a container. A config map or secret that does not exist (yet) is an error.
func (p *pod) environment(ctx context.Context, c *corev1.Container, im *Image) (map[string]string, error) {
	env := p.baseEnv()
	for k, v := range im.Env {
		env[k] = expand(v, env)
	}
	for _, from := range c.EnvFrom {
		data, err := p.envFrom(ctx, from)
		if err != nil {
			return nil, err
		}
		for k, v := range data {
			env[from.Prefix+k] = v
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			env[e.Name] = expand(e.Value, env)
			continue
		}
		value, ok, err := p.envValueFrom(ctx, c, e.ValueFrom)
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", e.Name, err)
		}
		if ok {
			env[e.Name] = value
		}
	}
	return env, nil
}

func (p *pod) envFrom(ctx context.Context, from corev1.EnvFromSource) (map[string]string, error) {
	var data map[string][]byte
	var err error
	switch {
	case from.ConfigMapRef != nil:
		data, err = p.configMap(ctx, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
	case from.SecretRef != nil:
		data, err = p.secret(ctx, from.SecretRef.Name, from.SecretRef.Optional)
	}
	out := make(map[string]string, len(data))
	for k, v := range data {
		out[k] = string(v)
	}
	return out, err
}

// envValueFrom returns ok=false where an optional source has no value.
func (p *pod) envValueFrom(ctx context.Context, c *corev1.Container, from *corev1.EnvVarSource) (string, bool, error) {
	switch {
	case from.FieldRef != nil:
		v, err := p.field(from.FieldRef.FieldPath)
		return v, true, err
	case from.ResourceFieldRef != nil:
		v, err := p.resourceField(c, from.ResourceFieldRef)
		return v, true, err
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		data, err := p.configMap(ctx, r.Name, r.Optional)
		return keyOf(data, err, "config map "+r.Name, r.Key, r.Optional)
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		data, err := p.secret(ctx, r.Name, r.Optional)
		return keyOf(data, err, "secret "+r.Name, r.Key, r.Optional)
	}
	return "", false, errors.New("this source of a value is not supported by the lab")
}

func keyOf(data map[string][]byte, err error, where, key string, optional *bool) (string, bool, error) {
	if err != nil {
		return "", false, err
	}
	v, ok := data[key]
	if !ok && !isTrue(optional) {
		return "", false, fmt.Errorf("%s has no key %q", where, key)
	}
	return string(v), ok, nil
}

func isTrue(b *bool) bool { return b != nil && *b }

// field is a value of the downward API. The API object does not know some of them yet when the container starts.
func (p *pod) field(path string) (string, error) {
	switch path {
	case "status.podIP", "status.podIPs":
		return p.ip, nil
	case "status.hostIP", "status.hostIPs":
		return p.node.def.IP, nil
	}
	obj := p.object()
	switch path {
	case "spec.nodeName":
		return obj.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return obj.Spec.ServiceAccountName, nil
	}
	return fieldpath.ExtractFieldPathAsString(obj, path)
}

// resourceField is a container's request or limit; a limit that is not set is what the node has.
func (p *pod) resourceField(c *corev1.Container, ref *corev1.ResourceFieldSelector) (string, error) {
	if ref.ContainerName != "" && ref.ContainerName != c.Name {
		other := findContainer(p.object(), ref.ContainerName)
		if other == nil {
			return "", fmt.Errorf("resource %s: no container %q in the pod", ref.Resource, ref.ContainerName)
		}
		c = other
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list := map[string]corev1.ResourceList{"limits": c.Resources.Limits, "requests": c.Resources.Requests}[kind]
	quantity, ok := list[corev1.ResourceName(name)]
	if !ok && kind == "limits" {
		quantity = p.node.capacity()[corev1.ResourceName(name)]
	}
	return divide(quantity, ref.Divisor, name == string(corev1.ResourceCPU)), nil
}

// divide rounds up, as the API documents it. CPU is counted in thousandths, so that a divisor of 1m works.
func divide(quantity, divisor resource.Quantity, cpu bool) string {
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	q, d := quantity.Value(), divisor.Value()
	if cpu {
		q, d = quantity.MilliValue(), divisor.MilliValue()
	}
	return strconv.FormatInt((q+d-1)/d, 10)
}

func findContainer(obj *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{obj.Spec.InitContainers, obj.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

func sortedEnv(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for k, v := range env {
		out = append(out, k+"="+v)
	}
	sort.Strings(out)
	return out
}
