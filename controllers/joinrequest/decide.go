package joinrequest

import (
	"fmt"
	"slices"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
)

// Codes beside those of packages room and admission.
const (
	codeRoomNotFound   room.Code = "room-not-found"
	codeRoomNotReady   room.Code = "room-not-ready"
	codeRoleNotAllowed room.Code = "role-not-allowed"
)

// verdict is what becomes of a request.
type verdict struct {
	phase   v1alpha1.JoinPhase
	code    room.Code // empty: all is well
	message string
}

func pending(code room.Code, message string) verdict {
	return verdict{v1alpha1.JoinPending, code, message}
}

func denied(code room.Code, message string) verdict {
	return verdict{v1alpha1.JoinDenied, code, message}
}

// decide says whether the user may have a ticket. vr is nil if there is no such
// room; state is the newest that is known of it, nil if it has no pod (the spec
// then says where it will start).
//
// Whoever may create a JoinRequest is trusted like an API key, which may invite
// anybody: InviteOnly therefore refuses nobody here.
func decide(jr *v1alpha1.JoinRequest, vr *v1alpha1.VoiceRoom, state *room.State) verdict {
	if vr == nil {
		return pending(codeRoomNotFound, fmt.Sprintf("spec.room: there is no VoiceRoom %q in this namespace.", jr.Spec.Room.Name))
	}
	user, now := jr.Spec.User, settings(vr, state)
	listed := user == now.Owner || slices.Contains(now.Moderators, user)
	switch {
	case vr.Status.Phase == v1alpha1.RoomClosed, !vr.DeletionTimestamp.IsZero():
		return denied(room.RoomClosed, "The room has ended.")
	case banned(vr, state, user):
		return denied(room.IsBanned, "The user is banned from the room.")
	case jr.Spec.Role == v1alpha1.JoinCoHost && !listed:
		return denied(codeRoleNotAllowed, "spec.role: only the room's owner and spec.moderators may be CoHost.")
	case now.Access == room.Locked && !listed:
		return denied(room.RoomLocked, "The room is locked: only its owner and moderators come in.")
	case full(state, user):
		return denied(room.RoomFull, fmt.Sprintf("The room holds %d members, as many as it may.", now.MaxMembers))
	case vr.Status.Phase == "" || vr.Status.Phase == v1alpha1.RoomPending:
		return pending(codeRoomNotReady, "The room is being made.")
	}
	return verdict{phase: v1alpha1.JoinGranted}
}

// settings are the room's values now. Roles above Speaker always come from the
// resource: a moderator's word in the call lists nobody there.
func settings(vr *v1alpha1.VoiceRoom, state *room.State) room.Settings {
	s := room.Settings{MaxMembers: int(vr.Spec.MaxMembers), Access: room.Access(vr.Spec.Access)}
	if state != nil {
		s = state.Settings
	}
	s.Owner, s.Moderators = vr.Spec.Owner, vr.Spec.Moderators
	return s
}

// banned says whether the user is kept out, by the pod's word or by an edit that it has not seen yet.
func banned(vr *v1alpha1.VoiceRoom, state *room.State, user string) bool {
	inCall := vr.Status.Banned
	if state != nil {
		inCall = state.Banned()
	}
	return slices.Contains(vr.Spec.Banned, user) || slices.Contains(inCall, user)
}

// full says whether the pod has no place left for the user. Whoever holds one
// already keeps it.
func full(state *room.State, user string) bool {
	if state == nil || len(state.Members) < state.Settings.MaxMembers {
		return false
	}
	_, has := state.Subject(user)
	return !has
}

// roleOf is the role that the ticket asks for.
func roleOf(r v1alpha1.JoinRole) room.Role {
	switch r {
	case v1alpha1.JoinCoHost:
		return room.CoHost
	case v1alpha1.JoinAudience:
		return room.Audience
	}
	return room.Speaker
}

// reasons are the condition reasons of the codes that have one of their own.
var reasons = map[room.Code]string{
	codeRoomNotFound:          v1alpha1.ReasonRoomNotFound,
	codeRoleNotAllowed:        v1alpha1.ReasonRoleNotAllowed,
	room.RoomClosed:           v1alpha1.ReasonClosed,
	admission.ChatUnavailable: v1alpha1.ReasonProviderUnavailable,
	admission.GroupGone:       v1alpha1.ReasonGroupNotFound,
}
