// Package voiceroom reconciles VoiceRoom: the group, the host's ticket and the
// media pod of a live room, from its creation to its end.
//
// Reconcile reads as the list of its steps. Each step looks at what is, takes the
// room one move further, and owns one part of the status, which is written once at
// the end and only if it changed. Nothing is kept elsewhere that a new leader
// could not find out: the claim protocol of a media pod is spread over reconciles,
// and what it is at can be read off the status.
//
//	(a) status.media = {podUID, epoch + 1}       written at the end of one reconcile
//	(b) the pod's labels and annotation          optimistic patch
//	(c) PUT of the room at the pod               MediaReady turns True
//
// A pod that fails (b) or (c) is never tried again: the room goes back to (a) with
// the next epoch. A room whose pod is lost does the same and seeds the next pod
// with the last replica. One whose pod has to go is sealed there first and seeded with
// what that pod itself says; MediaReady stays True, and says Migrating from (a) to (c).
//
// There is no finalizer. The group and the ticket's Secret are owned and
// garbage-collected (the group's resource has a finalizer of its own); pods live in
// another namespace, where owner references do not reach, and follow their room by
// [Sweeper]: a pod that its room does not claim, because the room moved, sleeps,
// ended or is gone, is closed and deleted. So nothing holds up a namespace that is
// being deleted, and a room that is deleted while the operator is down is cleaned up
// when it is back.
package voiceroom
