package main

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// testPod is a pod on a node of its own; its machine has no cluster.
func testPod(t *testing.T, spec corev1.PodSpec) *pod {
	t.Helper()
	m := &machine{cfg: &Config{APIServer: APIServer{Host: "127.9.0.1", Port: 443}}, stateDir: t.TempDir()}
	n := &node{machine: m, def: NodeConfig{Name: "n1", IP: "127.0.1.1", CPU: "4", Memory: "8Gi"}}
	n.pods = newPodController(n)
	obj := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u1", Generation: 3, Labels: map[string]string{"a": "b"}},
		Spec:       spec,
	}
	return newPod(n, obj, "127.101.0.2")
}

func TestEnvironment(t *testing.T) {
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	res := func(name, divisor string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: name, Divisor: resource.MustParse(divisor)}}
	}
	c := corev1.Container{
		Name: "c",
		Env: []corev1.EnvVar{
			{Name: "EARLY", Value: "$(LATER)"},
			{Name: "LATER", Value: "x"},
			{Name: "BOTH", Value: "$(LATER)-$(IMAGE)-$$(LATER)-$(NOPE)"},
			{Name: "POD_IP", ValueFrom: field("status.podIP")},
			{Name: "HOST_IP", ValueFrom: field("status.hostIP")},
			{Name: "NAME", ValueFrom: field("metadata.name")},
			{Name: "LABEL", ValueFrom: field("metadata.labels['a']")},
			{Name: "PATH", Value: "/mine"},
			{Name: "CPU", ValueFrom: res("requests.cpu", "1m")},
			{Name: "CPUS", ValueFrom: res("requests.cpu", "1")},
			{Name: "MEM", ValueFrom: res("limits.memory", "1Mi")},
		},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}},
	}
	im := &Image{Env: map[string]string{"IMAGE": "at $(PROCNODE_POD_IP)"}}
	p := testPod(t, corev1.PodSpec{Containers: []corev1.Container{c}})
	got, err := p.environment(t.Context(), &c, im)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"PATH": "/mine", "HOME": "/root", "HOSTNAME": "p", "PROCNODE_POD_IP": "127.101.0.2", "IMAGE": "at 127.101.0.2",
		"KUBERNETES_SERVICE_HOST": "127.9.0.1", "KUBERNETES_SERVICE_PORT": "443", "KUBERNETES_SERVICE_PORT_HTTPS": "443",
		"EARLY": "$(LATER)", "LATER": "x", "BOTH": "x-at 127.101.0.2-$(LATER)-$(NOPE)",
		"POD_IP": "127.101.0.2", "HOST_IP": "127.0.1.1", "NAME": "p", "LABEL": "b",
		"CPU": "1500", "CPUS": "2", "MEM": "8192", // no limit: what the node has
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestCommandFollowsTheImageUnlessTheContainerSaysOtherwise(t *testing.T) {
	im := &Image{Entrypoint: []string{"entry"}, Cmd: []string{"default"}}
	env := map[string]string{"A": "1"}
	for _, c := range []struct {
		name          string
		command, args []string
		want          []string
	}{
		{"image-alone", nil, nil, []string{"entry", "default"}},
		{"args-replace-cmd", nil, []string{"$(A)"}, []string{"entry", "1"}},
		{"command-replaces-both", []string{"run", "$(A)"}, nil, []string{"run", "1"}},
		{"command-and-args", []string{"run"}, []string{"x"}, []string{"run", "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := command(&corev1.Container{Command: c.command, Args: c.args}, im, env)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
