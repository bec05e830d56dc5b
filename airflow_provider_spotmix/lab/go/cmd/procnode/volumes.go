package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The modes that the API documents as defaults, and that of an emptyDir in the kubelet.
const (
	defaultFileMode = 0o644
	emptyDirMode    = 0o777
)

// configMap reads a config map's text and binary data; nothing where it is optional and missing.
func (p *pod) configMap(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	m, err := p.node.client.CoreV1().ConfigMaps(p.namespace()).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, unlessOptional(err, optional)
	}
	data := make(map[string][]byte, len(m.Data)+len(m.BinaryData))
	for k, v := range m.Data {
		data[k] = []byte(v)
	}
	maps.Copy(data, m.BinaryData)
	return data, nil
}

func (p *pod) secret(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	s, err := p.node.client.CoreV1().Secrets(p.namespace()).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, unlessOptional(err, optional)
	}
	return s.Data, nil
}

func unlessOptional(err error, optional *bool) error {
	if apierrors.IsNotFound(err) && isTrue(optional) {
		return nil
	}
	return err
}

// prepareVolumes makes every volume of the pod a path of the host and returns the paths by volume name. It can be
// called again after an error: config maps often appear after the pods that use them.
func (p *pod) prepareVolumes(ctx context.Context) (map[string]string, error) {
	obj := p.object()
	paths := make(map[string]string, len(obj.Spec.Volumes))
	for i := range obj.Spec.Volumes {
		v := &obj.Spec.Volumes[i]
		path, err := p.prepareVolume(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		paths[v.Name] = path
	}
	return paths, nil
}

func (p *pod) prepareVolume(ctx context.Context, v *corev1.Volume) (string, error) {
	if v.HostPath != nil {
		return v.HostPath.Path, prepareHostPath(v.HostPath)
	}
	dir := filepath.Join(p.dir, "volumes", v.Name)
	if err := makeDir(dir, emptyDirMode); err != nil {
		return "", err
	}
	switch {
	case v.EmptyDir != nil:
		return dir, nil
	case v.ConfigMap != nil:
		data, err := p.configMap(ctx, v.ConfigMap.Name, v.ConfigMap.Optional)
		return dir, writeItems(err, dir, data, v.ConfigMap.Items, v.ConfigMap.DefaultMode, v.ConfigMap.Optional)
	case v.Secret != nil:
		data, err := p.secret(ctx, v.Secret.SecretName, v.Secret.Optional)
		return dir, writeItems(err, dir, data, v.Secret.Items, v.Secret.DefaultMode, v.Secret.Optional)
	case v.DownwardAPI != nil:
		return dir, p.writeDownward(dir, v.DownwardAPI.Items, v.DownwardAPI.DefaultMode)
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			if err := p.project(ctx, dir, s, v.Projected.DefaultMode); err != nil {
				return "", err
			}
		}
		return dir, nil
	}
	return "", errors.New("this kind of volume is not supported by the lab; supported: configMap, downwardAPI, emptyDir, " +
		"hostPath, projected, secret")
}

func (p *pod) project(ctx context.Context, dir string, s corev1.VolumeProjection, mode *int32) error {
	switch {
	case s.ConfigMap != nil:
		data, err := p.configMap(ctx, s.ConfigMap.Name, s.ConfigMap.Optional)
		return writeItems(err, dir, data, s.ConfigMap.Items, mode, s.ConfigMap.Optional)
	case s.Secret != nil:
		data, err := p.secret(ctx, s.Secret.Name, s.Secret.Optional)
		return writeItems(err, dir, data, s.Secret.Items, mode, s.Secret.Optional)
	case s.DownwardAPI != nil:
		return p.writeDownward(dir, s.DownwardAPI.Items, mode)
	case s.ServiceAccountToken != nil:
		token, err := p.token(ctx, s.ServiceAccountToken)
		if err != nil {
			return err
		}
		return writeFile(dir, s.ServiceAccountToken.Path, []byte(token), fileMode(nil, mode))
	}
	return errors.New("this projection is not supported by the lab; supported: configMap, downwardAPI, secret, serviceAccountToken")
}

// token asks for a service account token that is bound to this pod: it stops being valid when the pod is deleted.
func (p *pod) token(ctx context.Context, want *corev1.ServiceAccountTokenProjection) (string, error) {
	obj := p.object()
	request := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{
		ExpirationSeconds: want.ExpirationSeconds,
		BoundObjectRef:    &authv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: obj.Name, UID: obj.UID},
	}}
	if want.Audience != "" {
		request.Spec.Audiences = []string{want.Audience}
	}
	account := obj.Spec.ServiceAccountName
	accounts := p.node.client.CoreV1().ServiceAccounts(obj.Namespace)
	response, err := accounts.CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token of service account %s: %w", account, err)
	}
	return response.Status.Token, nil
}

func (p *pod) writeDownward(dir string, items []corev1.DownwardAPIVolumeFile, mode *int32) error {
	for _, it := range items {
		var value string
		var err error
		if it.FieldRef != nil {
			value, err = p.field(it.FieldRef.FieldPath)
		} else if it.ResourceFieldRef != nil {
			value, err = p.resourceField(&corev1.Container{}, it.ResourceFieldRef)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", it.Path, err)
		}
		if err := writeFile(dir, it.Path, []byte(value), fileMode(it.Mode, mode)); err != nil {
			return err
		}
	}
	return nil
}

// writeItems writes the chosen keys, all of them where none is chosen. It passes readErr on, to keep callers short.
func writeItems(readErr error, dir string, data map[string][]byte, items []corev1.KeyToPath, mode *int32, optional *bool) error {
	if readErr != nil {
		return readErr
	}
	if items == nil {
		for _, k := range slices.Sorted(maps.Keys(data)) {
			items = append(items, corev1.KeyToPath{Key: k, Path: k})
		}
	}
	for _, it := range items {
		value, ok := data[it.Key]
		if !ok && isTrue(optional) {
			continue
		}
		if !ok {
			return fmt.Errorf("no key %q; there are: %s", it.Key, strings.Join(slices.Sorted(maps.Keys(data)), ", "))
		}
		if err := writeFile(dir, it.Path, value, fileMode(it.Mode, mode)); err != nil {
			return err
		}
	}
	return nil
}

func fileMode(own, common *int32) os.FileMode {
	switch {
	case own != nil:
		return os.FileMode(*own)
	case common != nil:
		return os.FileMode(*common)
	}
	return defaultFileMode
}

// writeFile writes below dir only: the path comes from the API. It may have been written before, read-only.
func writeFile(dir, path string, data []byte, mode os.FileMode) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := root.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := root.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	return root.Chmod(path, mode)
}

// makeDir makes a directory with exactly this mode, whatever the umask.
func makeDir(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

func prepareHostPath(v *corev1.HostPathVolumeSource) error {
	kind := corev1.HostPathUnset
	if v.Type != nil {
		kind = *v.Type
	}
	switch kind {
	case corev1.HostPathDirectoryOrCreate:
		return os.MkdirAll(v.Path, 0o755)
	case corev1.HostPathFileOrCreate:
		f, err := os.OpenFile(v.Path, os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		return f.Close()
	}
	info, err := os.Stat(v.Path)
	if err != nil {
		return err
	}
	if kind == corev1.HostPathDirectory && !info.IsDir() || kind == corev1.HostPathFile && !info.Mode().IsRegular() {
		return fmt.Errorf("host path %s is not a %s", v.Path, kind)
	}
	return nil
}
