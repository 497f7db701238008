// Package drain says which media pods have to go, and why: the one judgement that the
// controllers of rooms and of pools share. A room in such a pod is treated as its
// drain policy says; an idle pod is replaced, and given to no room.
//
// A refused eviction leaves no trace on the pod, so that the node is what tells: that
// it takes no new pods, or that an autoscaler is about to remove it.
package drain
