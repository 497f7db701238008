package groupchat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
)

// Sweeper removes groups of this cluster that no GroupChat holds any more: those
// that nobody ever entered (a leader that was deposed between two calls made
// them), and those that were recorded as Orphans when their ChatProvider was gone.
//
// Any other group without a GroupChat was kept on purpose (deletionPolicy Retain)
// or by force (a finalizer taken away by hand). It holds people's messages, so it
// is counted and logged, not removed.
type Sweeper struct {
	Client       client.Client
	Live         client.Reader
	Providers    Providers
	Orphans      *Orphans
	Installation string
	Every        time.Duration
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (s *Sweeper) NeedLeaderElection() bool { return true }

// Start sweeps until ctx ends. It implements manager.Runnable.
func (s *Sweeper) Start(ctx context.Context) error {
	ticker := time.NewTicker(s.Every)
	defer ticker.Stop()
	log := ctrl.LoggerFrom(ctx).WithName("groupchat-sweeper")
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := s.Sweep(ctrl.LoggerInto(ctx, log)); err != nil && ctx.Err() == nil {
			log.Error(err, "Sweeping groups that nobody holds")
		}
	}
}

// Sweep looks once at every provider that is ready.
func (s *Sweeper) Sweep(ctx context.Context) error {
	list := &v1alpha1.ChatProviderList{}
	if err := s.Client.List(ctx, list); err != nil {
		return fmt.Errorf("listing ChatProviders: %w", err)
	}
	// Records are read before groups: a record whose group is not listed then stands
	// for a group that is gone.
	orphans, err := s.Orphans.List(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for i := range list.Items {
		cp := &list.Items[i]
		if !meta.IsStatusConditionTrue(cp.Status.Conditions, v1alpha1.ConditionReady) {
			continue
		}
		if err := s.sweep(ctx, cp.Name, orphans); err != nil {
			errs = append(errs, fmt.Errorf("sweeping the groups at ChatProvider %s: %w", cp.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Sweeper) sweep(ctx context.Context, name string, orphans []Orphan) error {
	provider, err := s.Providers.Get(name)
	if err != nil {
		return err
	}
	groups, err := provider.ListGroups(ctx, prefix(s.Installation))
	if err != nil {
		return err
	}
	recorded := map[string]Orphan{}
	for _, orphan := range orphans {
		if orphan.Provider == name {
			recorded[orphan.Key] = orphan
		}
	}
	kept := 0
	for _, group := range groups {
		held, err := s.held(ctx, group.Key)
		if err != nil {
			return err
		}
		_, released := recorded[group.Key]
		switch {
		case held:
		case released, group.State == chat.Invalid && group.Members == 0:
			if err := provider.DeleteGroup(ctx, group.ID); err != nil {
				return err
			}
			ctrl.LoggerFrom(ctx).Info("Removed a group that nobody holds", "provider", name, "groupID", group.ID, "key", group.Key)
		default:
			kept++
		}
	}
	if kept > 0 {
		ctrl.LoggerFrom(ctx).Info("Groups without a GroupChat hold messages and were left alone", "provider", name, "groups", kept)
	}
	for _, orphan := range recorded {
		if err := s.Orphans.Forget(ctx, orphan.UID); err != nil {
			return err
		}
	}
	return nil
}

// held says whether the GroupChat that made a group exists. The API server is
// asked before the answer is no. A key that is not ours is held by others.
func (s *Sweeper) held(ctx context.Context, key string) (bool, error) {
	resource, uid, ok := holder(key, s.Installation)
	if !ok {
		return true, nil
	}
	for _, reader := range []client.Reader{s.Client, s.Live} {
		gc := &v1alpha1.GroupChat{}
		err := reader.Get(ctx, resource, gc)
		if client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("getting GroupChat %s: %w", resource, err)
		}
		if err == nil && string(gc.UID) == uid {
			return true, nil
		}
	}
	return false, nil
}
