package main

import (
	_ "github.com/virtual-kubelet/virtual-kubelet/node"
	_ "golang.org/x/sys/unix"
	_ "k8s.io/api/core/v1"
	_ "k8s.io/apimachinery/pkg/api/resource"
	_ "k8s.io/client-go/informers"
	_ "k8s.io/client-go/tools/clientcmd"
	_ "k8s.io/client-go/tools/record"
	_ "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	_ "k8s.io/klog/v2"
	_ "k8s.io/kubernetes/pkg/fieldpath"
	_ "k8s.io/kubernetes/third_party/forked/golang/expansion"
	_ "k8s.io/utils/exec"
)

func main() {}
