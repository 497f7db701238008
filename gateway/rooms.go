package gateway

import (
	"net/http"
	"net/url"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// newRoom is what a room is made with; its fields are those of VoiceRoom.spec.
type newRoom struct {
	Namespace         string                     `json:"namespace"`
	Name              string                     `json:"name"` // empty: one is made
	DisplayName       string                     `json:"displayName"`
	MaxMembers        int32                      `json:"maxMembers"`
	MaxMics           int32                      `json:"maxMics"`
	Access            v1alpha1.Access            `json:"access"`
	MicPolicy         v1alpha1.MicPolicy         `json:"micPolicy"`
	Duplicates        v1alpha1.Duplicates        `json:"duplicates"`
	Audience          v1alpha1.AudienceMode      `json:"audience"`
	MuteOnEntry       bool                       `json:"muteOnEntry"`
	SpeakingSeconds   int32                      `json:"speakingSeconds"`
	Announcement      string                     `json:"announcement"`
	Metadata          map[string]string          `json:"metadata"`
	Moderators        []string                   `json:"moderators"`
	Banned            []string                   `json:"banned"`
	ChatProvider      string                     `json:"chatProvider"`
	ChatFailurePolicy v1alpha1.ChatFailurePolicy `json:"chatFailurePolicy"`
	Pool              string                     `json:"pool"`
	Lifecycle         v1alpha1.RoomLifecycle     `json:"lifecycle"`
}

func (n newRoom) resource(owner string) *v1alpha1.VoiceRoom {
	vr := &v1alpha1.VoiceRoom{Spec: v1alpha1.VoiceRoomSpec{
		DisplayName: n.DisplayName, Owner: owner, MaxMembers: n.MaxMembers, MaxMics: n.MaxMics, Access: n.Access, MicPolicy: n.MicPolicy,
		Duplicates: n.Duplicates, Audience: n.Audience, MuteOnEntry: n.MuteOnEntry, SpeakingSeconds: n.SpeakingSeconds,
		Announcement: n.Announcement, Metadata: n.Metadata, Moderators: n.Moderators, Banned: n.Banned,
		Chat:      v1alpha1.RoomChat{Provider: n.ChatProvider, FailurePolicy: n.ChatFailurePolicy},
		Media:     v1alpha1.RoomMedia{Pool: n.Pool},
		Lifecycle: n.Lifecycle,
	}}
	vr.Namespace, vr.Name = n.Namespace, n.Name
	if n.Name == "" {
		vr.GenerateName = "room-"
	}
	return vr
}

// summary is a room as callers see it: nobody's subject is in it.
type summary struct {
	Namespace   string             `json:"namespace"`
	Name        string             `json:"name"`
	DisplayName string             `json:"displayName,omitempty"`
	Phase       v1alpha1.RoomPhase `json:"phase"`
	GroupID     string             `json:"groupID,omitempty"`
	Members     int32              `json:"members"`
	MaxMembers  int32              `json:"maxMembers"`
	MaxMics     int32              `json:"maxMics"`
	Mics        []summaryMic       `json:"mics"`
	JoinURL     string             `json:"joinURL"`
}

type summaryMic struct {
	Index int32 `json:"index"`
	Muted bool  `json:"muted"`
}

func (g *Gateway) summaryOf(r *http.Request, vr *v1alpha1.VoiceRoom) summary {
	s := summary{Namespace: vr.Namespace, Name: vr.Name, DisplayName: vr.Spec.DisplayName, Phase: vr.Status.Phase, GroupID: vr.Status.GroupID,
		Members: vr.Status.Members, MaxMembers: vr.Spec.MaxMembers, MaxMics: vr.Spec.MaxMics, Mics: []summaryMic{}, JoinURL: vr.Status.JoinURL}
	if s.Phase == "" {
		s.Phase = v1alpha1.RoomPending
	}
	if n := vr.Status.EffectiveMaxMembers; n > 0 {
		s.MaxMembers = n
	}
	if n := vr.Status.EffectiveMaxMics; n > 0 {
		s.MaxMics = n
	}
	for _, m := range vr.Status.Mics {
		s.Mics = append(s.Mics, summaryMic{Index: m.Index, Muted: m.Muted})
	}
	if s.JoinURL == "" {
		s.JoinURL = g.roomURL(r, vr)
	}
	return s
}

// roomURL is the address of the room's page.
func (g *Gateway) roomURL(r *http.Request, vr *v1alpha1.VoiceRoom) string {
	at := url.URL{Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		at.Scheme = "https"
	}
	if g.cfg.PublicURL != nil {
		at = *g.cfg.PublicURL
	}
	return at.JoinPath("r", vr.Namespace, vr.Name).String()
}

func (g *Gateway) createRoom(w http.ResponseWriter, r *http.Request) error {
	who, err := g.identify(r)
	if err != nil {
		return err
	}
	if who.ticket != nil || who.session != nil {
		return refuse(http.StatusForbidden, room.NotAllowed, "rooms are made with an API key or an ID token")
	}
	owner, err := subjectOf(who)
	if err != nil {
		return err
	}
	asked, err := readJSON[newRoom](r)
	if err != nil {
		return err
	}
	if err := g.mayChange(asked.Namespace); err != nil {
		return err
	}
	vr := asked.resource(owner)
	if err := g.make(r, vr); err != nil {
		return err
	}
	w.Header().Set("Location", "/v1/rooms/"+url.PathEscape(vr.Namespace)+"/"+url.PathEscape(vr.Name))
	return writeJSON(w, http.StatusCreated, g.summaryOf(r, vr))
}

// make creates the resource, with the trace that it belongs to.
func (g *Gateway) make(r *http.Request, vr *v1alpha1.VoiceRoom) (err error) {
	ctx, span := g.step(r, "create room", "", g.now())
	defer func() { taken(span, err) }()
	carry(ctx, vr)
	if err := g.cfg.Cluster.Writer.Create(ctx, vr); err != nil {
		return ofCluster("creating a room in "+vr.Namespace, err)
	}
	return nil
}

// mayChange refuses namespaces in which rooms are not made or deleted over HTTP.
func (g *Gateway) mayChange(namespace string) error {
	anywhere := slices.Contains(g.cfg.RoomNamespaces, "*") && len(validation.IsDNS1123Label(namespace)) == 0
	if anywhere || slices.Contains(g.cfg.RoomNamespaces, namespace) {
		return nil
	}
	return refuse(http.StatusForbidden, codeNamespace, "rooms cannot be changed in this namespace")
}

// getRoom tells about a room. Where guests are allowed, anybody may ask.
func (g *Gateway) getRoom(w http.ResponseWriter, r *http.Request) error {
	if !g.cfg.Guests.Allow || r.Header.Get("Authorization") != "" {
		if _, err := g.identify(r); err != nil {
			return err
		}
	}
	vr, err := g.voiceRoom(r.Context(), r.PathValue("namespace"), r.PathValue("room"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, g.summaryOf(r, vr))
}

func (g *Gateway) deleteRoom(w http.ResponseWriter, r *http.Request) error {
	who, err := g.identify(r)
	if err != nil {
		return err
	}
	vr, err := g.voiceRoom(r.Context(), r.PathValue("namespace"), r.PathValue("room"))
	if err != nil {
		return err
	}
	if who.key == "" && (who.subject != vr.Spec.Owner || who.session != nil) {
		return refuse(http.StatusForbidden, room.NotAllowed, "a room is deleted by its owner or a back end")
	}
	if err := forThisRoom(who, vr); err != nil {
		return err
	}
	if err := g.mayChange(vr.Namespace); err != nil {
		return err
	}
	if err := g.cfg.Cluster.Writer.Delete(r.Context(), vr, client.Preconditions{UID: &vr.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		return ofCluster("deleting room "+vr.Namespace+"/"+vr.Name, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// forThisRoom refuses a ticket that is for another room; a guest's is for none.
func forThisRoom(who caller, vr *v1alpha1.VoiceRoom) error {
	if t := who.ticket; t != nil && t.Purpose != token.PurposeGuest && t.RoomUID != string(vr.UID) {
		return tokenRefusal(token.ErrAudience)
	}
	return nil
}
