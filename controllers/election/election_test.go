package election_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/controllers/election"
	"voiceroom.dev/voiceroom/test/apiserver"
)

var config *rest.Config

func TestMain(m *testing.M) { os.Exit(apiserver.Run(m, &config)) }

var terms = election.TermsOf(election.MinLease)

// world is a cluster that belongs to nobody yet.
func world(t *testing.T) (client.Client, *coordinationv1.Lease) {
	t.Helper()
	c := apiserver.Client(t, config)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: election.Namespace, Name: election.Name}}
	remove := func() { must(t, client.IgnoreNotFound(c.Delete(context.Background(), lease.DeepCopy()))) }
	remove()
	t.Cleanup(remove)
	return c, lease
}

// operator is the lock of one operator; taken gets what it is told.
func operator(t *testing.T, installation string) (lock *election.Lock, taken chan error) {
	t.Helper()
	taken = make(chan error, 1)
	lock, err := election.New(config, installation, terms, func(err error) {
		select {
		case taken <- err:
		default:
		}
	})
	must(t, err)
	return lock, taken
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOneInstallation: of many that claim a cluster at once one has it, and keeps it
// although nobody runs.
func TestOneInstallation(t *testing.T) {
	c, lease := world(t)
	installations := []string{"red", "green", "blue", "red"}
	errs := make([]error, len(installations))
	var racing sync.WaitGroup
	for i, installation := range installations {
		lock, _ := operator(t, installation)
		racing.Go(func() { errs[i] = lock.Claim(t.Context()) })
	}
	racing.Wait()
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(lease), lease))
	owner := lease.Annotations[election.Annotation]
	for i, installation := range installations {
		other, refused := errors.AsType[*election.TakenError](errs[i])
		switch {
		case installation == owner && errs[i] != nil:
			t.Errorf("%s owns the cluster, but: %v", installation, errs[i])
		case installation != owner && (!refused || other.Installation != owner || !strings.Contains(errs[i].Error(), owner)):
			t.Errorf("%s owns the cluster; %s was told: %v", owner, installation, errs[i])
		}
	}
	late, _ := operator(t, "late")
	if _, refused := errors.AsType[*election.TakenError](late.Claim(t.Context())); !refused {
		t.Error("a cluster that was claimed long ago was claimed again")
	}
}

// TestLeaseOfAPackageManager: the Lease that was installed with the operator says nothing
// of whose the cluster is. It is claimed, and its labels stay.
func TestLeaseOfAPackageManager(t *testing.T) {
	c, lease := world(t)
	lease.Labels = map[string]string{"app.kubernetes.io/managed-by": "Helm"}
	must(t, c.Create(t.Context(), lease))
	lock, _ := operator(t, "red")
	must(t, lock.Claim(t.Context()))
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(lease), lease))
	if lease.Annotations[election.Annotation] != "red" || lease.Labels["app.kubernetes.io/managed-by"] != "Helm" {
		t.Errorf("the Lease is %+v", lease.ObjectMeta)
	}
}

// elect runs an election until the test ends; led is closed when the operator leads.
func elect(t *testing.T, lock *election.Lock) (led <-chan struct{}) {
	t.Helper()
	leads, ended := make(chan struct{}), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: terms.Lease, RenewDeadline: terms.Renew, RetryPeriod: terms.Retry, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) { close(leads) }, OnStoppedLeading: func() {}},
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { defer close(ended); elector.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return leads
}

// TestDeletedWhileLed: a Lease that somebody deletes while its operators run is made
// again, and is still theirs.
func TestDeletedWhileLed(t *testing.T) {
	c, lease := world(t)
	lock, _ := operator(t, "red")
	must(t, lock.Claim(t.Context()))
	<-elect(t, lock)
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(lease), lease))
	before := lease.UID
	must(t, c.Delete(t.Context(), lease))
	apiserver.Await(t, c, lease, "the Lease is there again", func() bool { return lease.UID != before })
	if lease.Annotations[election.Annotation] != "red" || *lease.Spec.HolderIdentity != lock.Identity() {
		t.Errorf("the new Lease: %+v", lease)
	}
}

// TestTakenWhileWaiting: an operator that stands by learns that the cluster was handed
// to another installation, and is told once that it has to end.
func TestTakenWhileWaiting(t *testing.T) {
	c, lease := world(t)
	leader, _ := operator(t, "red")
	must(t, leader.Claim(t.Context()))
	<-elect(t, leader)
	standby, taken := operator(t, "red")
	must(t, standby.Claim(t.Context()))
	elect(t, standby)
	must(t, c.Get(t.Context(), client.ObjectKeyFromObject(lease), lease))
	must(t, c.Patch(t.Context(), lease, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+election.Annotation+`":"blue"}}}`))))
	select {
	case err := <-taken:
		if other, ok := errors.AsType[*election.TakenError](err); !ok || other.Installation != "blue" {
			t.Errorf("told: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("nothing was told")
	}
}
