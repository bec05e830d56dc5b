package main

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// podRow is one pod in the answer of GET /pods.
type podRow struct {
	Node       string         `json:"node"`
	Namespace  string         `json:"namespace"`
	Name       string         `json:"name"`
	UID        string         `json:"uid"`
	IP         string         `json:"ip"`
	Phase      string         `json:"phase"`
	Containers []containerRow `json:"containers"`
}

type containerRow struct {
	Name     string `json:"name"`
	PID      int    `json:"pid"` // of the container's first process, on the host; 0 if it does not run
	RSSBytes int64  `json:"rssBytes"`
	Restarts int32  `json:"restarts"`
}

// controlAPI is how the lab's command line plays the provider. Errors are plain text.
func (m *machine) controlAPI(token string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /pods", func(w http.ResponseWriter, _ *http.Request) { answer(w, m.podRows()) })
	mux.HandleFunc("GET /nodes", func(w http.ResponseWriter, _ *http.Request) { answer(w, m.nodeRows()) })
	mux.HandleFunc("POST /kill", m.controlNode(m.killNode))
	mux.HandleFunc("POST /freeze", m.controlNode(m.freezeNode))
	mux.HandleFunc("POST /start", m.controlNode(m.startNode))
	mux.HandleFunc("GET /cuts", func(w http.ResponseWriter, _ *http.Request) { answer(w, m.cutRows()) })
	mux.HandleFunc("POST /mend", m.controlNode(m.mendNode))
	for _, c := range []cut{cutFromAPI, cutFromPods, cutOff} {
		mux.HandleFunc("POST /"+string(c), m.controlNode(func(name string) (int, error) { return m.cutNode(name, c) }))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(given), []byte(token)) != 1 {
			http.Error(w, "the header Authorization must be: Bearer, and the content of --control-token-file", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (m *machine) controlNode(do func(name string) (int, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("node")
		if code, err := do(name); err != nil {
			http.Error(w, err.Error(), code)
			return
		}
		answer(w, map[string]string{"node": name})
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the only error is that the client has gone
}

func readToken(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := string(bytes.TrimSpace(raw))
	if token == "" {
		return "", fmt.Errorf("%s: is empty; write a random token to it", path)
	}
	return token, nil
}

// killNode lets a node die; see [node.die].
func (m *machine) killNode(name string) (int, error) {
	if _, err := m.cfg.node(name); err != nil {
		return http.StatusNotFound, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[name]
	if n == nil {
		return http.StatusConflict, fmt.Errorf("node %s is dead already", name)
	}
	if err := m.seal(name, dead); err != nil {
		return http.StatusInternalServerError, err
	}
	n.die()
	delete(m.nodes, name)
	m.hosts.changed()
	return http.StatusOK, nil
}

// freezeNode freezes a node; see [node.freeze].
func (m *machine) freezeNode(name string) (int, error) {
	if _, err := m.cfg.node(name); err != nil {
		return http.StatusNotFound, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[name]
	if n == nil || n.frozen.happened() {
		return http.StatusConflict, fmt.Errorf("node %s is dead or frozen already", name)
	}
	if err := m.seal(name, frozen); err != nil {
		return http.StatusInternalServerError, err
	}
	n.freeze()
	return http.StatusOK, nil
}

// startNode starts a node that died or is frozen as a new machine, and waits until it is registered.
func (m *machine) startNode(name string) (int, error) {
	def, err := m.cfg.node(name)
	if err != nil {
		return http.StatusNotFound, err
	}
	m.mu.Lock()
	if old := m.nodes[name]; old != nil {
		if !old.frozen.happened() {
			m.mu.Unlock()
			return http.StatusConflict, fmt.Errorf("node %s runs already", name)
		}
		old.die()
		delete(m.nodes, name)
	}
	err = m.seal(name, alive)
	m.mu.Unlock()
	if err != nil {
		return http.StatusInternalServerError, err
	}
	return m.runNode(context.Background(), def)
}

// runNode starts a node, and waits until it is registered.
func (m *machine) runNode(ctx context.Context, def NodeConfig) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := startNode(ctx, m, def)
	if err != nil {
		return http.StatusInternalServerError, err
	}
	m.nodes[def.Name] = n
	select {
	case <-n.ready:
		return http.StatusOK, nil
	case <-ctx.Done():
		return http.StatusServiceUnavailable, ctx.Err()
	case <-time.After(registrationLimit):
		return http.StatusGatewayTimeout, fmt.Errorf("node %s was not registered within %s", def.Name, registrationLimit)
	}
}

func (m *machine) nodeRows() map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := make(map[string]bool, len(m.cfg.Nodes))
	for _, def := range m.cfg.Nodes {
		n := m.nodes[def.Name]
		rows[def.Name] = n != nil && !n.frozen.happened()
	}
	return rows
}

func (m *machine) podRows() []podRow {
	rows := []podRow{}
	for _, p := range m.pods() {
		obj, view := p.object(), p.view()
		row := podRow{
			Node: p.node.def.Name, Namespace: obj.Namespace, Name: obj.Name, UID: string(p.uid), IP: p.ip, Phase: string(view.phase()),
		}
		for _, c := range p.containers() {
			row.Containers = append(row.Containers, c.row())
		}
		rows = append(rows, row)
	}
	return rows
}

func (c *container) row() containerRow {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	row := containerRow{Name: c.spec.Name, Restarts: c.restarts}
	if c.process != nil {
		row.PID = c.process.PID()
		row.RSSBytes = rss(row.PID)
	}
	return row
}

// rss is the memory that a process holds, in bytes; 0 if it is gone.
func rss(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var total, resident int64
	if _, err := fmt.Sscan(string(raw), &total, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}
