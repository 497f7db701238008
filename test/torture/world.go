package main

import (
	"context"
	crand "crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/stack"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/test/torture/history"
	"voiceroom.dev/voiceroom/token"
)

const (
	controlPort = 9443 // of a media pod
	setupTime   = 2 * time.Minute
	apiKey      = "a-key-that-is-for-the-torture-only"
)

// world is a running system and everybody in it.
type world struct {
	opts    options
	stack   *stack.Stack
	report  *report
	gateway *gateway
	webrtc  *webrtc.API

	// Dialers of media pods with the gateway's key. Each has connections of its own: those
	// of gateways are cut with the pod, those of watchers are not.
	gateways, watchers *mediaapi.Dialer
	minter             *token.Minter

	rooms        []*voiceRoom
	callers      []*caller
	someOffer    string // of a client that nobody connects
	restCommands bool   // the gateway takes commands

	running sync.WaitGroup // faults and what reads streams
	clients sync.WaitGroup
	killing sync.Mutex // of a process and its restart
}

// build starts a system with rooms that their owners have opened.
func build(ctx context.Context, opts options, rep *report) (w *world, err error) {
	w = &world{opts: opts, report: rep}
	keys, err := os.MkdirTemp("", "voiceroom-keys-")
	if err != nil {
		return nil, fmt.Errorf("making the API key's directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(keys, keyName), []byte(apiKey), 0o600); err != nil {
		return nil, fmt.Errorf("writing the API key: %w", err)
	}
	w.stack, err = stack.Start(ctx, stack.Options{Root: opts.root, Partitions: true, MediaBinary: opts.media, Warm: int32(opts.rooms/2 + 1),
		GatewayFlags: []string{"--api-keys-dir", keys}, Progress: func(what string) { fmt.Println(what) }})
	if err != nil {
		return nil, err
	}
	w.gateway = newGateway(w.stack.GatewayURL, apiKey)
	for _, step := range []func(context.Context) error{w.dial, w.prepareClients, w.makeRooms} {
		if err := step(ctx); err != nil {
			return w, err
		}
	}
	return w, nil
}

// dial reads what a gateway calls media pods with, and what it signs tokens with.
func (w *world) dial(ctx context.Context) error {
	secrets := map[string]*corev1.Secret{v1alpha1.GatewayKeySecret: {}, v1alpha1.TokenKeysSecret: {}, v1alpha1.CASecret: {}}
	for name, s := range secrets {
		if err := w.stack.Client.Get(ctx, client.ObjectKey{Namespace: stack.SystemNamespace, Name: name}, s); err != nil {
			return fmt.Errorf("reading Secret %s: %w", name, err)
		}
	}
	calls, err := token.ParseRing(secrets[v1alpha1.GatewayKeySecret].Data[v1alpha1.RingKey])
	if err != nil {
		return fmt.Errorf("reading the gateway's key: %w", err)
	}
	tokens, err := token.ParseRing(secrets[v1alpha1.TokenKeysSecret].Data[v1alpha1.RingKey])
	if err != nil {
		return fmt.Errorf("reading the token keys: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(secrets[v1alpha1.CASecret].Data[corev1.TLSCertKey])
	caller := token.NewMinter(func() *token.Ring { return calls }, time.Now, crand.Reader)
	for _, d := range []**mediaapi.Dialer{&w.gateways, &w.watchers} {
		*d = mediaapi.NewDialer(token.CallerGateway, caller, func() *x509.CertPool { return roots }, time.Now)
	}
	w.minter = token.NewMinter(func() *token.Ring { return tokens }, time.Now, crand.Reader)
	return nil
}

// session names one that is reserved at a pod itself.
func (w *world) session(rng *rand.Rand) string {
	var b [16]byte
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return hex.EncodeToString(b[:])
}

// token signs the room token of a grant, as the gateway would.
func (w *world) token(r *voiceRoom, g grant) string {
	_, s := r.current()
	if s == nil {
		return ""
	}
	signed, err := w.minter.Room(token.Room{RoomUID: s.ID.UID, Epoch: g.Epoch, Subject: g.subject, Session: g.Session, Member: g.Member, Group: s.ID.GroupID, ExpiresAt: g.ExpiresAt})
	if err != nil {
		w.report.trouble(err)
	}
	return signed
}

func (w *world) prepareClients(context.Context) (err error) {
	if w.webrtc, err = newAPI(); err != nil {
		return err
	}
	nobody, offer, err := newPeer(w.webrtc)
	if err != nil {
		return err
	}
	w.someOffer = offer
	nobody.close()
	return nil
}

// makeRooms creates the rooms, follows them, and has their owners open them.
func (w *world) makeRooms(whole context.Context) error {
	ctx, cancel := context.WithTimeout(whole, setupTime)
	defer cancel()
	for i := range w.opts.rooms {
		r := newVoiceRoom(w, fmt.Sprintf("room-%d", i))
		w.rooms = append(w.rooms, r)
		vr := &v1alpha1.VoiceRoom{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: r.name}, Spec: v1alpha1.VoiceRoomSpec{
			Owner: r.subjects[0], MaxMembers: int32(3 + i%3), MaxMics: int32(1 + i%2),
			Lifecycle: v1alpha1.RoomLifecycle{EmptyTimeout: &metav1.Duration{Duration: 24 * time.Hour}}}}
		if err := w.stack.Client.Create(ctx, vr); err != nil {
			return fmt.Errorf("creating %s: %w", r.name, err)
		}
		err := w.stack.Wait(ctx, vr, setupTime, func() bool {
			return meta.IsStatusConditionTrue(vr.Status.Conditions, v1alpha1.ConditionMediaReady)
		})
		if err != nil {
			return err
		}
		r.claimed(whole, vr.Status.Media)
		if err := w.activate(ctx, r); err != nil {
			return fmt.Errorf("opening %s: %w", r.name, err)
		}
	}
	w.running.Go(func() { w.followRooms(whole) })
	_, code, _ := w.gateway.command(ctx, w.rooms[0], "", history.Unban, map[string]string{"subject": w.rooms[0].subjects[1]})
	w.restCommands = code == ""
	return nil
}

// activate lets a room's owner in.
func (w *world) activate(ctx context.Context, r *voiceRoom) error {
	g, code, out := w.gateway.join(ctx, r, r.subjects[0], "")
	if code != "" || out != answered {
		return fmt.Errorf("the owner cannot join: %s", code)
	}
	p, offer, err := newPeer(w.webrtc)
	if err != nil {
		return err
	}
	p.grant = g
	answer, code, _ := w.gateway.offer(ctx, r, g.Token, offer)
	if code != "" {
		return fmt.Errorf("the owner's offer was refused: %s", code)
	}
	if err := p.stand(ctx, answer); err != nil {
		return err
	}
	if code, _ := w.gateway.feedback(ctx, r, g.Token, g.Session, "connected"); code != "" {
		return fmt.Errorf("the owner did not enter: %s", code)
	}
	r.connected(p)
	r.granted(g)
	return nil
}

// followRooms notes each pod that a room is given.
func (w *world) followRooms(ctx context.Context) {
	byName := map[string]*voiceRoom{}
	for _, r := range w.rooms {
		byName[r.name] = r
	}
	c, err := client.NewWithWatch(w.stack.Config, client.Options{Scheme: stack.Scheme()})
	if err != nil {
		w.report.trouble(err)
		return
	}
	for ctx.Err() == nil {
		var list v1alpha1.VoiceRoomList
		if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			pause(ctx, time.Second)
			continue
		}
		for i := range list.Items {
			byName[list.Items[i].Name].claimed(ctx, list.Items[i].Status.Media)
		}
		changes, err := c.Watch(ctx, &v1alpha1.VoiceRoomList{}, client.InNamespace(namespace), &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
		if err != nil {
			pause(ctx, time.Second)
			continue
		}
		for change := range changes.ResultChan() {
			if vr, ok := change.Object.(*v1alpha1.VoiceRoom); ok {
				byName[vr.Name].claimed(ctx, vr.Status.Media)
			}
		}
	}
}

// stop ends everything.
func (w *world) stop() {
	for _, r := range w.rooms {
		r.mu.Lock()
		for _, c := range r.clients {
			c.close()
		}
		r.mu.Unlock()
	}
	w.running.Wait()
	w.clients.Wait()
	if w.stack != nil {
		if err := w.stack.Stop(); err != nil {
			fmt.Println("stopping:", err)
		}
	}
}
