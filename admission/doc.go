// Package admission is the only way into a room. It holds no state of its own
// beyond what it has just compared, so that any number of gateways and the
// operator can use it at once.
//
// It carries out steps 7 to 9 of the join flow (CN111343079B, claim 1), and for
// the owner steps 3 to 5:
//
//   - Join asks chat how many clients the group has, takes a place at the room's
//     media pod, and mints the room token that opens it.
//   - Confirm, once the media connection stands, associates the client with the
//     group and lets it enter. The first one turns the group valid.
//   - Failed and Leave give a place back, and end the association with the group.
//   - Repair makes the group's list agree with the pod's.
//
// # Who decides
//
// The pod does, alone: it is the one place where a cap is exact. Chat is asked
// too, but a chat back end is never trusted to enforce a cap: it may still list
// somebody who is long gone. When its count says that a room is full, the two
// lists are compared and repaired first, once per room and [CompareEvery] for all
// who wait, and then the pod decides.
//
// # What can go wrong half-way
//
// Every step is idempotent and leaves the next caller something to go on from.
// When a caller dies between AddMember and the pod's enter, the session stays
// associated at the pod: a repeated feedback, or the operator, confirms it again;
// and if it never enters, the pod releases it and Repair ends the association.
package admission
