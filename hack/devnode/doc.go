// Package devnode is a Kubernetes node for development: it runs pods as plain local processes, with neither a
// container runtime nor root.
//
//	node, err := devnode.New(devnode.Options{
//		Config:     plane.Config(),
//		Name:       "dev",
//		Namespaces: []string{"voiceroom-media"},
//		Binaries:   map[string]string{"voiceroom-media:dev": "bin/media"},
//		Output:     os.Stderr,
//	})
//	err = node.Run(ctx) // until ctx ends; then no process is left
//
// It plays scheduler and kubelet for the namespaces that it is given. It registers a Node, renews its Lease, binds
// pending pods to itself, projects their volumes, starts their processes, probes them, reports their status, and
// finalises their deletion when they have ended. It is written for one machine and a few hundred pods, and for
// Linux, where every address in 127.0.0.0/8 is the machine's own.
//
// What it reports is what happened: a pod is Running when its process is, Ready when its readiness probe says so,
// and Failed or Succeeded by its exit code. It never restarts anything. What it cannot do it refuses, with a reason
// in the pod's status, rather than half do: see unsupported.
//
// # What differs from a container
//
//   - The image is looked up in Options.Binaries; the local binary found there takes the place of the image's entry
//     point or of command[0]. Resources, security contexts and image pulls have no effect.
//   - There is no mount namespace. A volume is a directory of the node's own, and where the container's command,
//     args, workingDir or an environment value name a path at or below a mountPath, the real path takes its place:
//     see mounts. A path that is hard-coded in the binary is not found. Mounts are not read-only.
//   - There is no network namespace. Each pod has its own address in 127.0.0.0/8 (status.podIP), so that programs
//     that listen on it never meet. A port that has a hostPort is promised on the node's address, so the program must
//     listen there on all addresses itself, as containerPort and hostPort are the same number. The node only makes
//     sure that no two of its pods hold the same hostPort.
//   - The working directory is the pod's own unless the container names one; HOME and TMPDIR are there too, and PATH
//     is the node's. No other variable of the node's environment is passed on.
//   - There is no /dev/termination-log: a termination message is the end of the output, where the policy allows that.
//   - Secrets are projected to disk, in a directory that only the node's user can enter.
//
// # Losing it
//
// A node that stops kills its pods and reports nothing about it, like a machine that loses power. One that is
// started again under the same name reports the pods that it finds as Failed.
//
// With Options.Partitions a single pod can be lost to the cluster but not to its clients: see Node.Cut.
package devnode
