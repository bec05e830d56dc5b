package main

import (
	"context"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// updateInterval is how often volumes are looked at for changes: the kubelet does it once a minute, but a rehearsal should
// not wait.
const updateInterval = 5 * time.Second

// heldToken is a service account token that a volume holds.
type heldToken struct {
	token     string
	refreshAt time.Time
}

// freshToken is the token that the volume holds until a fifth of its life is left, as in the kubelet; then a new one.
// https://kubernetes.io/docs/concepts/storage/projected-volumes/#serviceaccounttoken
func (p *pod) freshToken(ctx context.Context, volume string, want *corev1.ServiceAccountTokenProjection) (string, error) {
	key := volume + "/" + want.Path
	p.mu.Lock()
	held := p.tokens[key]
	p.mu.Unlock()
	if held.token != "" && time.Now().Before(held.refreshAt) {
		return held.token, nil
	}
	asked := time.Now()
	token, expires, err := p.token(ctx, want)
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tokens == nil {
		p.tokens = map[string]heldToken{}
	}
	p.tokens[key] = heldToken{token, asked.Add(expires.Sub(asked) * 4 / 5)}
	return token, nil
}

// updateVolumes keeps what is from the API up to date until the pod has ended. A file that is mounted by itself (subPath)
// stays as it was, as Kubernetes documents it.
// https://kubernetes.io/docs/concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically
func (p *pod) updateVolumes(ctx context.Context, volumes map[string]string) {
	ticker := time.NewTicker(updateInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.ended.done():
			return
		case <-ticker.C:
		}
		for i := range p.object().Spec.Volumes {
			v := &p.object().Spec.Volumes[i]
			if v.HostPath == nil && v.EmptyDir == nil {
				p.updateVolume(ctx, v, volumes[v.Name])
			}
		}
	}
}

// updateVolume writes what has changed. What cannot be read now stays as it is.
func (p *pod) updateVolume(ctx context.Context, v *corev1.Volume, dir string) {
	files, err := p.files(ctx, v)
	if err == nil {
		err = writeFiles(dir, files)
	}
	if err != nil && ctx.Err() == nil {
		slog.Warn("update a volume", "pod", p.key(), "volume", v.Name, "error", err)
	}
}
