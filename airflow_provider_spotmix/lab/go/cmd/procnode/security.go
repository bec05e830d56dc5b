package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/securitycontext"
	"spotmix.io/lab/cmd/procnode/sandbox"
)

// rights are what a container's securityContext comes to. What is not here (capabilities, privileged, seccomp and the like,
// supplementary groups) changes nothing: the lab's containers are no defence.
// https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
type rights struct {
	user            *sandbox.User // nil: root
	readOnlyRoot    bool
	noNewPrivileges bool
}

func rightsOf(pod *corev1.Pod, c *corev1.Container) (rights, error) {
	wanted := securitycontext.DetermineEffectiveSecurityContext(pod, c)
	r := rights{
		readOnlyRoot:    isTrue(wanted.ReadOnlyRootFilesystem),
		noNewPrivileges: wanted.AllowPrivilegeEscalation != nil && !*wanted.AllowPrivilegeEscalation,
	}
	user := sandbox.User{}
	if wanted.RunAsUser != nil {
		user.UID = int(*wanted.RunAsUser)
	}
	if wanted.RunAsGroup != nil {
		user.GID = int(*wanted.RunAsGroup)
	}
	if isTrue(wanted.RunAsNonRoot) && user.UID == 0 {
		if wanted.RunAsUser != nil {
			return r, errors.New("runAsNonRoot is true, but runAsUser is 0; set another runAsUser")
		}
		return r, errors.New("runAsNonRoot is true, but the lab's images run as root; set runAsUser (Spark's own images: 185)")
	}
	if user != (sandbox.User{}) {
		r.user = &user
	}
	return r, nil
}

// users is an /etc/passwd in which the user has a name, which Java and others insist on; nil if the machine's has one.
func (r rights) users() ([]byte, error) {
	if r.user == nil {
		return nil, nil
	}
	known, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, err
	}
	uid := strconv.Itoa(r.user.UID)
	for line := range strings.Lines(string(known)) {
		if fields := strings.Split(line, ":"); len(fields) > 2 && fields[2] == uid {
			return nil, nil
		}
	}
	return fmt.Appendf(known, "user%s:x:%s:%d::/root:/bin/sh\n", uid, uid, r.user.GID), nil
}
