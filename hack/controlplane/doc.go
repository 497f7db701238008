// Package controlplane runs a real Kubernetes control plane on loopback: etcd and kube-apiserver, as envtest starts
// them, and kube-controller-manager with its garbage collector and namespace controller alone. Those two make
// deletion real: without them nothing that is owned is ever deleted and no namespace ever ends.
//
//	assets, err := kubebin.Ensure(ctx, os.Stderr, kubebin.All()...)
//	plane, err := controlplane.Start(ctx, controlplane.Options{Assets: assets, CRDPaths: []string{"config/crd"}})
//	defer plane.Stop()
//	c, err := client.New(plane.Config(), client.Options{})
//
// With Options.Nodes it is the control plane of a whole cluster (see hack/node). Else there is no scheduler, no kubelet and no other controller: pods stay Pending until something binds and runs them
// (see hack/devnode), Deployments make no pods, and service accounts get no tokens.
//
// Everything that a plane writes is in one directory. Stop ends the processes, waits for them and removes
// the directory. The processes have process groups of their own, so that Ctrl-C reaches only the program, whose
// part it is to call Stop; should it die without, the kernel kills them (on Linux, with util-linux's setpriv).
package controlplane
