package main

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"spotmix.io/lab/cmd/procnode/sandbox"
)

func TestRights(t *testing.T) {
	yes, no, root, spark, other := true, false, int64(0), int64(185), int64(3000)
	for _, c := range []struct {
		name      string
		pod       *corev1.PodSecurityContext
		container *corev1.SecurityContext
		want      rights
		err       string
	}{
		{"none", nil, nil, rights{}, ""},
		{"pod", &corev1.PodSecurityContext{RunAsUser: &spark}, nil, rights{user: &sandbox.User{UID: 185}}, ""},
		{
			"container-wins", &corev1.PodSecurityContext{RunAsUser: &other, RunAsGroup: &other},
			&corev1.SecurityContext{RunAsUser: &spark}, rights{user: &sandbox.User{UID: 185, GID: 3000}}, "",
		},
		{"root-is-root", &corev1.PodSecurityContext{RunAsUser: &root}, nil, rights{}, ""},
		{
			"hardened", nil, &corev1.SecurityContext{ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no},
			rights{readOnlyRoot: true, noNewPrivileges: true}, "",
		},
		{"non-root", &corev1.PodSecurityContext{RunAsNonRoot: &yes}, &corev1.SecurityContext{RunAsUser: &root}, rights{}, "runAsUser is 0"},
		{"non-root-image", &corev1.PodSecurityContext{RunAsNonRoot: &yes}, nil, rights{}, "images run as root"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := &corev1.Pod{Spec: corev1.PodSpec{SecurityContext: c.pod}}
			got, err := rightsOf(pod, &corev1.Container{SecurityContext: c.container})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestAUserHasAName(t *testing.T) {
	unknown := rights{user: &sandbox.User{UID: 987654, GID: 3}}
	text, err := unknown.users()
	if err != nil || !strings.HasSuffix(string(text), "\nuser987654:x:987654:3::/root:/bin/sh\n") {
		t.Errorf("got %q, %v", text, err)
	}
	for _, r := range []rights{{}, {user: &sandbox.User{GID: 3}}} {
		if text, err := r.users(); text != nil || err != nil {
			t.Errorf("%+v: got %q, %v", r, text, err)
		}
	}
}
