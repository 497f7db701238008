// Package cluster gives a test a Kubernetes cluster of its own, with a real kubelet on every node: kind where a Docker
// engine runs, and what hack/node builds and starts from source elsewhere.
//
//	c, err := cluster.Start(ctx, cluster.Options{Images: tars, Progress: os.Stderr})
//	defer c.Stop()
//	clients, err := client.New(c.Config(), client.Options{})
//
// Images come from files (hack/images builds those of the product), never from a registry: containers that name them
// need an image pull policy of IfNotPresent or Never. The cluster has DNS, a default StorageClass whose claims bind, and
// enforces NetworkPolicies where NetworkPolicies says so. A client on this machine reaches a hostPort or a NodePort at
// the address of the node (see Nodes), which is also the InternalIP in the Node's status.
//
// There is one cluster on a machine at a time. Stop leaves nothing behind; what a program that was killed left is
// removed by the next Start, or by
//
//	go run ./hack/cluster/cmd down
//
// The same command runs a cluster to look at: see its --help.
package cluster
