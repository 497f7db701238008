// Package node runs a Kubernetes cluster with real nodes on a Linux machine that has neither a container engine nor a
// registry: a control plane (hack/controlplane) on the machine itself, and each node in namespaces of its own: processes,
// mounts, network, host name. A node runs containerd, kubelet, kube-proxy (nftables) and kube-router, which enforces
// NetworkPolicies; CoreDNS runs in pods. It takes root.
//
//	group, err := node.Start(ctx, node.Options{Nodes: 2, Dir: dir, LogDir: logs, Progress: os.Stderr})
//	defer group.Stop()
//
// Nodes are on a network of their own with this machine, whose end of it is an interface named vroom0. Pods can be
// reached from here by their own addresses, and hostPorts and NodePorts by those of their node. Pods reach this
// machine, and nothing beyond it.
//
// The namespaces are what makes it safe to stop or to kill: the kernel ends everything in the process namespace of a
// node with its first process (machine), which dies with the program that started it, and with the last process go the
// mounts, interfaces and rules. What may be left of a program that was killed is the directory, the interface and empty
// control groups; Clean removes them.
//
// The nodes share the kernel and what is left of the machine's memory, as kind's do. A claim of the default StorageClass
// takes one of the volumes that each node has from the start (see volumesPerNode); they are not used again.
package node
