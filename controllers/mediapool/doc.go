// Package mediapool keeps warm media pods for rooms to claim.
//
// A pool's pods are named <pool>-<hostPort>: the API server's own uniqueness of
// names is the lock of a port, so that two leaders or two passes never give one
// port twice. A pod that has held a room is never given another: it carries the
// room's labels until it is deleted, and counts as assigned.
//
// What is wanted is computed by pure functions (podFor, plan); the controller
// carries it out one pod at a time and lets watches bring it back.
package mediapool
