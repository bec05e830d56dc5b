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
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumeutil "k8s.io/kubernetes/pkg/volume/util"
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
	if v.EmptyDir != nil {
		return dir, nil
	}
	files, err := p.files(ctx, v)
	if err != nil {
		return "", err
	}
	return dir, writeFiles(dir, files)
}

// files are what a volume holds whose content is from the API.
func (p *pod) files(ctx context.Context, v *corev1.Volume) (volumeFiles, error) {
	files := volumeFiles{}
	switch {
	case v.ConfigMap != nil:
		data, err := p.configMap(ctx, v.ConfigMap.Name, v.ConfigMap.Optional)
		return files, files.addItems(err, data, v.ConfigMap.Items, v.ConfigMap.DefaultMode, v.ConfigMap.Optional)
	case v.Secret != nil:
		data, err := p.secret(ctx, v.Secret.SecretName, v.Secret.Optional)
		return files, files.addItems(err, data, v.Secret.Items, v.Secret.DefaultMode, v.Secret.Optional)
	case v.DownwardAPI != nil:
		return files, p.addDownward(files, v.DownwardAPI.Items, v.DownwardAPI.DefaultMode)
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			if err := p.project(ctx, files, v.Name, s, v.Projected.DefaultMode); err != nil {
				return nil, err
			}
		}
		return files, nil
	}
	return nil, errors.New("this kind of volume is not supported by the lab; supported: configMap, downwardAPI, emptyDir, " +
		"hostPath, projected, secret")
}

func (p *pod) project(ctx context.Context, files volumeFiles, volume string, s corev1.VolumeProjection, mode *int32) error {
	switch {
	case s.ConfigMap != nil:
		data, err := p.configMap(ctx, s.ConfigMap.Name, s.ConfigMap.Optional)
		return files.addItems(err, data, s.ConfigMap.Items, mode, s.ConfigMap.Optional)
	case s.Secret != nil:
		data, err := p.secret(ctx, s.Secret.Name, s.Secret.Optional)
		return files.addItems(err, data, s.Secret.Items, mode, s.Secret.Optional)
	case s.DownwardAPI != nil:
		return p.addDownward(files, s.DownwardAPI.Items, mode)
	case s.ServiceAccountToken != nil:
		token, err := p.freshToken(ctx, volume, s.ServiceAccountToken)
		files.add(s.ServiceAccountToken.Path, []byte(token), nil, mode)
		return err
	}
	return errors.New("this projection is not supported by the lab; supported: configMap, downwardAPI, secret, serviceAccountToken")
}

// token asks for a service account token that is bound to this pod: it stops being valid when the pod is deleted.
func (p *pod) token(ctx context.Context, want *corev1.ServiceAccountTokenProjection) (string, time.Time, error) {
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
		return "", time.Time{}, fmt.Errorf("token of service account %s: %w", account, err)
	}
	return response.Status.Token, response.Status.ExpirationTimestamp.Time, nil
}

func (p *pod) addDownward(files volumeFiles, items []corev1.DownwardAPIVolumeFile, mode *int32) error {
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
		files.add(it.Path, []byte(value), it.Mode, mode)
	}
	return nil
}

// volumeFiles are the files of a volume by path.
type volumeFiles map[string]volumeutil.FileProjection

func (f volumeFiles) add(path string, data []byte, own, common *int32) {
	mode := int32(defaultFileMode)
	for _, wanted := range []*int32{common, own} {
		if wanted != nil {
			mode = *wanted
		}
	}
	f[path] = volumeutil.FileProjection{Data: data, Mode: mode}
}

// addItems adds the chosen keys, all of them where none is chosen. It passes readErr on, to keep callers short.
func (f volumeFiles) addItems(readErr error, data map[string][]byte, items []corev1.KeyToPath, mode *int32, optional *bool) error {
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
		f.add(it.Path, value, it.Mode, mode)
	}
	return nil
}

// writeFiles makes them the content of a directory, all at once, as the kubelet does: a container sees the old ones or
// the new ones. It refuses paths that lead out of it.
func writeFiles(dir string, files volumeFiles) error {
	writer, err := volumeutil.NewAtomicWriter(dir, "volume "+dir)
	if err != nil {
		return err
	}
	return writer.Write(files, nil)
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
