// Package mediapool keeps warm media pods for rooms to claim.
//
// A pool's pods are named <pool>-<hostPort>: the API server's own uniqueness of
// names is the lock of a port, so that two leaders or two passes never give one
// port twice. A pod that has held a room is never given another: it carries the
// room's labels until it is deleted, and counts as assigned.
//
// A pass over a pool takes a census of its pods, makes a plan, and carries that out:
//   - census: pods are sorted; package drain says which have to go.
//   - demand: beside the warm ones and those that rooms wait for, as many pods start as
//     rooms will claim meanwhile.
//   - plan: what to make and what to remove. Pods of an earlier template are replaced, new
//     ones first; one that holds a room is never touched here.
//   - conditions: what keeps new pods from coming up, and what to do about it.
//
// All of that are pure functions. Events of pods only ask for a pass, and passes keep their
// distance: one answers for all events since the last.
package mediapool
