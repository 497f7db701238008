package v1alpha1

// Condition types. Each but Draining is True when things are as they should be; Ready
// is derived from the others. All carry observedGeneration and follow the kstatus
// rules (Ready False with a reason while reconciling).
const (
	// ConditionReady: the resource does what it exists for. For a VoiceRoom:
	// people can join now.
	ConditionReady = "Ready"
	// ConditionChatReady: the room's group exists at its chat provider.
	ConditionChatReady = "ChatReady"
	// ConditionMediaReady: a media pod holds the room.
	ConditionMediaReady = "MediaReady"
	// ConditionDraining of a VoiceRoom is there, and True, while the room's pod has to go and
	// the room is still in it: with why, and what becomes of the room. It says nothing about
	// the calls, which go on.
	ConditionDraining = "Draining"
	// ConditionProgressing of a MediaPool: nothing keeps new pods from coming up. It may be
	// False, and say what to do, while enough pods are ready.
	ConditionProgressing = "Progressing"
	// ConditionActivated: the first client was associated; the group turned Valid.
	// A one-way latch.
	ConditionActivated = "Activated"
)

// Condition reasons.
const (
	ReasonReady                = "Ready"
	ReasonPending              = "Pending"
	ReasonClosed               = "Closed"
	ReasonAsleep               = "Asleep"
	ReasonUnclaimed            = "Unclaimed"
	ReasonGroupCreated         = "GroupCreated"
	ReasonGroupPending         = "GroupPending"
	ReasonGroupConflict        = "GroupConflict"
	ReasonGroupNotFound        = "GroupNotFound"
	ReasonCapsExceedGroup      = "CapsExceedGroup"
	ReasonProviderNotFound     = "ProviderNotFound"
	ReasonProviderNotReady     = "ProviderNotReady"
	ReasonProviderNotAllowed   = "ProviderNotAllowed"
	ReasonProviderUnavailable  = "ProviderUnavailable"
	ReasonProviderDenied       = "ProviderDenied"
	ReasonPoolNotFound         = "PoolNotFound"
	ReasonPoolNotAllowed       = "PoolNotAllowed"
	ReasonPoolExhausted        = "PoolExhausted"
	ReasonWaitingForPod        = "WaitingForPod"
	ReasonPodClaimed           = "PodClaimed"
	ReasonMixUnavailable       = "MixUnavailable"
	ReasonMigrating            = "Migrating"
	ReasonWaitingForEnd        = "WaitingForEnd"
	ReasonQuotaExceeded        = "QuotaExceeded"
	ReasonNodeWithoutAddress   = "NodeWithoutAddress"
	ReasonPodUnreachable       = "PodUnreachable"
	ReasonWaitingForOwner      = "WaitingForOwner"
	ReasonOwnerAssociated      = "OwnerAssociated"
	ReasonWarm                 = "Warm"
	ReasonStarting             = "Starting"
	ReasonPortsExhausted       = "PortsExhausted"
	ReasonMaxPodsReached       = "MaxPodsReached"
	ReasonPodFailed            = "PodFailed"
	ReasonPodsComeUp           = "PodsComeUp"
	ReasonPodsRefused          = "PodsRefused"
	ReasonImageUnavailable     = "ImageUnavailable"
	ReasonUnschedulable        = "Unschedulable"
	ReasonConnected            = "Connected"
	ReasonCredentialsNotFound  = "CredentialsNotFound"
	ReasonRoomNotFound         = "RoomNotFound"
	ReasonRoleNotAllowed       = "RoleNotAllowed"
	ReasonGranted              = "Granted"
	ReasonDenied               = "Denied"
	ReasonDissolveFailed       = "DissolveFailed"
	ReasonReleasedWithoutOwner = "ReleasedWithoutProvider"
)

// CloseReason says why a room ended.
type CloseReason string

// Close reasons.
const (
	CloseUnclaimed   CloseReason = "Unclaimed"   // the owner never came
	CloseEmpty       CloseReason = "Empty"       // nobody was in it for emptyTimeout
	CloseMaxDuration CloseReason = "MaxDuration" // it was as old as it may become
	CloseByModerator CloseReason = "ClosedByModerator"
	CloseDrained     CloseReason = "Drained" // its pod had to go, and its drain policy is Close
)

// Labels and annotations.
const (
	// LabelPool names the MediaPool of a media pod.
	LabelPool = "voiceroom.dev/pool"
	// LabelRoomNamespace, LabelRoomName and LabelRoomUID say which room a claimed
	// pod holds: owner references cannot cross namespaces.
	LabelRoomNamespace = "voiceroom.dev/room-namespace"
	LabelRoomName      = "voiceroom.dev/room-name"
	LabelRoomUID       = "voiceroom.dev/room-uid"
	// LabelTemplate is the hash of the template that a media pod was made from.
	LabelTemplate = "voiceroom.dev/template"
	// AnnotationEpoch is the room's epoch that a pod was claimed under.
	AnnotationEpoch = "voiceroom.dev/epoch"
	// AnnotationWake, set to a time by the gateway when somebody wants to join a
	// room that sleeps, makes the operator claim a pod for it again.
	AnnotationWake = "voiceroom.dev/wake"
	// AnnotationTraceparent is the trace (W3C traceparent) that asked for a room: the gateway
	// writes it when it makes one, and the operator goes on with it.
	AnnotationTraceparent = "voiceroom.dev/traceparent"
	// Finalizer holds a resource while something outside the cluster belongs to it.
	Finalizer = "voiceroom.dev/finalizer"
)
