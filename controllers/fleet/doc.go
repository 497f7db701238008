// Package fleet is the leader's memory of the media plane: what cannot be read
// from the API server, because it is too fresh or too large for it.
//
//   - [Allocator] hands each warm pod to one room at a time, so that twenty rooms
//     that start together do not fight over one pod.
//   - [Fleet] follows every pod that holds a room: it keeps a full replica of the
//     room's state (the seed of a fail-over), renews the room's admission lease,
//     confirms sessions whose feedback never came, wakes the VoiceRoom
//     controller when something changed, and tells its [Listener] of everything.
//
// Nothing here is the truth. A new leader starts with an empty fleet and fills it
// from the resources and the pods; what it does meanwhile is fenced by epochs.
package fleet
