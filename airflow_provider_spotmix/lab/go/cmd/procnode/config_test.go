package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spotmix.io/lab/cmd/procnode/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.RunIfChild()
	os.Exit(m.Run())
}

func TestConfigErrorsNameFieldValueAndRule(t *testing.T) {
	good := `{"name": "a", "ip": "127.0.1.1", "podNet": "127.101.0", "cpu": "4", "memory": "8Gi"}`
	for _, c := range []struct{ name, config, want string }{
		{"good", `{"nodes": [` + good + `]}`, ""},
		{"no-nodes", `{"nodes": []}`, "nodes: is empty"},
		{"typo", `{"nodez": []}`, `unknown field "nodez"`},
		{"same-twice", `{"nodes": [` + good + "," + good + `]}`, "nodes[1]: has the same ip 127.0.1.1 as nodes[0]"},
		{"not-loopback", `{"nodes": [{"name": "a", "ip": "10.0.0.1"}]}`, `nodes[0].ip: "10.0.0.1" is not an address of 127.0.0.0/8`},
		{"pod-net", `{"nodes": [{"name": "a", "podNet": "127.1"}]}`, `nodes[0].podNet: "127.1" is not`},
		{"quantity", `{"nodes": [{"name": "a", "cpu": "many"}]}`, `nodes[0].cpu: "many" is not a quantity`},
		{"image-source", `{"nodes": [` + good + `], "images": [{"match": "x", "tree": [{"src": "/nope", "dst": "opt"}]}]}`,
			`images[0].tree[0].dst: "opt" is not an absolute path`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.json")
			if err := os.WriteFile(path, []byte(c.config), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := loadConfig(path)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestFirstMatchingImageIsTaken(t *testing.T) {
	cfg := &Config{Images: []Image{{Match: "spark", Workdir: "/a"}, {Match: "park", Workdir: "/b"}}}
	if im, err := cfg.image("docker.io/spark:4"); err != nil || im.Workdir != "/a" {
		t.Errorf("got %+v, %v", im, err)
	}
	if _, err := cfg.image("busybox"); err == nil || err.Error() != `no recipe for image "busybox": it contains none of ["spark" "park"]` {
		t.Errorf("got %v", err)
	}
}
