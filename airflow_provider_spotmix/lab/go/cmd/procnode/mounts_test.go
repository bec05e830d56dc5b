package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"spotmix.io/lab/cmd/procnode/sandbox"
)

func TestVolumesAreMountedOuterFirst(t *testing.T) {
	host := t.TempDir()
	volumes := map[string]string{"a": filepath.Join(host, "a"), "b": filepath.Join(host, "b")}
	for _, dir := range volumes {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := &corev1.Container{VolumeMounts: []corev1.VolumeMount{
		{Name: "b", MountPath: "/data/deep/", SubPathExpr: "of-$(POD)/x"},
		{Name: "a", MountPath: "/data", ReadOnly: true},
	}}
	got, err := planVolumes(c, volumes, map[string]string{"POD": "p"})
	want := []sandbox.Mount{
		{Kind: sandbox.Bind, Source: volumes["a"], Target: "/data", ReadOnly: true},
		{Kind: sandbox.Bind, Source: filepath.Join(volumes["b"], "of-p/x"), Target: "/data/deep"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := os.Stat(want[1].Source); err != nil {
		t.Errorf("the sub path was not made: %v", err)
	}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "a", MountPath: "/x", SubPath: "../b"}}
	if _, err := planVolumes(c, volumes, nil); err == nil {
		t.Error("a sub path led out of its volume")
	}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "nope", MountPath: "/x"}}
	if _, err := planVolumes(c, volumes, nil); err == nil || !strings.Contains(err.Error(), "nope") {
		t.Errorf("got %v", err)
	}
}

func TestVolumeFiles(t *testing.T) {
	dir := t.TempDir()
	data := map[string][]byte{"a": []byte("1"), "b": []byte("2")}
	mode := func(m int32) *int32 { return &m }
	yes := true
	for _, c := range []struct {
		name     string
		items    []corev1.KeyToPath
		mode     *int32
		optional *bool
		want     map[string]os.FileMode
		err      string
	}{
		{"all", nil, nil, nil, map[string]os.FileMode{"a": 0o644, "b": 0o644}, ""},
		{"default-mode", nil, mode(0o400), nil, map[string]os.FileMode{"a": 0o400, "b": 0o400}, ""},
		{"chosen", []corev1.KeyToPath{{Key: "a", Path: "deep/x", Mode: mode(0o600)}}, mode(0o444), nil, map[string]os.FileMode{"deep/x": 0o600}, ""},
		{"missing", []corev1.KeyToPath{{Key: "z", Path: "z"}}, nil, nil, nil, `no key "z"; there are: a, b`},
		{"missing-but-optional", []corev1.KeyToPath{{Key: "z", Path: "z"}}, nil, &yes, map[string]os.FileMode{}, ""},
		{"leads-out", []corev1.KeyToPath{{Key: "a", Path: "../x"}}, nil, nil, nil, "must not contain '..'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := filepath.Join(dir, c.name)
			if err := os.Mkdir(target, 0o755); err != nil {
				t.Fatal(err)
			}
			for range 2 { // it is repeated when a later volume is not ready
				files := volumeFiles{}
				err := files.addItems(nil, data, c.items, c.mode, c.optional)
				if err == nil {
					err = writeFiles(target, files)
				}
				if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want %q", err, c.err)
				}
			}
			for path, want := range c.want {
				if info, err := os.Stat(filepath.Join(target, path)); err != nil || info.Mode() != want {
					t.Errorf("%s: %v, %v", path, info, err)
				}
			}
		})
	}
}

func TestHostsLeadFromServicesToTheirPods(t *testing.T) {
	service := func(name string, selector map[string]string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns"}, Spec: corev1.ServiceSpec{Selector: selector}}
	}
	services := []*corev1.Service{service("web", map[string]string{"app": "web"}), service("no-selector", nil)}
	pods := []hostEntry{
		{"ns", "127.1.0.3", map[string]string{"app": "web", "x": "y"}},
		{"ns", "127.1.0.2", map[string]string{"app": "web"}},
		{"other", "127.1.0.4", map[string]string{"app": "web"}},
	}
	want := `127.0.0.1 localhost
127.9.0.1 kubernetes.default.svc.cluster.local kubernetes.default.svc kubernetes.default
127.1.0.2 web.ns.svc.cluster.local web.ns.svc web.ns
127.1.0.3 web.ns.svc.cluster.local web.ns.svc web.ns
`
	if got := renderHosts("127.9.0.1", services, pods); got != want {
		t.Errorf("got %s", got)
	}
}
