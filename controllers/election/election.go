// Package election keeps the operator's Lease, of which a cluster has one: it says
// which operator leads now and, in an annotation and for good, which installation the
// cluster belongs to.
//
// Two installations, in namespaces of their own, would make each other's rooms, pods
// and keys. So the Lease is in a namespace that every cluster has once, an operator
// claims it before it does anything else, and one of another installation refuses to
// run, whether the first one runs or not. Every write is optimistic: of two that
// claim a new Lease at once, one finds the other's claim.
package election

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// The Lease, and where it says whose the cluster is.
const (
	Namespace  = "kube-system"
	Name       = "voiceroom-operator"
	Annotation = "voiceroom.dev/installation"
)

// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=kube-system,resources=leases,resourceNames=voiceroom-operator,verbs=get;update
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=kube-system,resources=leases,verbs=create

// TakenError says that the cluster belongs to another installation.
type TakenError struct{ Installation string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("this cluster belongs to the Voiceroom of namespace %s: uninstall that first, or, if its operators are gone, delete Lease %s of namespace %s",
		e.Installation, Name, Namespace)
}

// Terms are how long a leader leads without renewing its lease, when it gives up by
// itself, and how often leader and candidates ask the API server.
type Terms struct{ Lease, Renew, Retry time.Duration }

// TermsOf returns the terms of a lease, which is whole seconds, MinLease at least. A leader
// that cannot renew tries five times and then ends, a third of the lease before anybody
// else may lead. A leader that was killed is followed within one and a half leases.
func TermsOf(lease time.Duration) Terms {
	return Terms{Lease: lease, Renew: lease * 2 / 3, Retry: lease / 8}
}

// MinLease is the shortest lease that leaves time to renew it.
const MinLease = 3 * time.Second

// Lock is the Lease as one operator of an installation sees it. It is what an election
// locks, and is used by one at a time.
type Lock struct {
	leases       coordination.LeaseInterface
	installation string
	identity     string
	taken        func(error)
	lease        *coordinationv1.Lease // as it was last read or written
}

var _ resourcelock.Interface = (*Lock)(nil)

// New makes the lock of an operator whose installation is named by its namespace.
// taken is called if the Lease is found to be another installation's, which an election
// would only log: the operator has to end.
func New(cfg *rest.Config, installation string, terms Terms, taken func(error)) (*Lock, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("naming this operator: %w", err)
	}
	cfg = rest.AddUserAgent(rest.CopyConfig(cfg), "leader-election")
	cfg.Timeout = max(terms.Renew/2, time.Second) // a call that hangs must not cost the lead
	c, err := coordination.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making a client of leases: %w", err)
	}
	return &Lock{leases: c.Leases(Namespace), installation: installation, identity: host + "_" + string(uuid.NewUUID()), taken: taken}, nil
}

// Claim makes the cluster this installation's, for good, or returns a *TakenError.
func (l *Lock) Claim(ctx context.Context) error {
	for {
		err := l.read(ctx)
		switch {
		case apierrors.IsNotFound(err):
			err = l.create(ctx, coordinationv1.LeaseSpec{})
		case err == nil && l.lease.Annotations[Annotation] == "":
			err = l.update(ctx, l.lease.Spec)
		}
		if !apierrors.IsAlreadyExists(err) && !apierrors.IsConflict(err) {
			return err
		}
	}
}

// Get implements resourcelock.Interface.
func (l *Lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	if err := l.read(ctx); err != nil {
		return nil, nil, err
	}
	record := resourcelock.LeaseSpecToLeaderElectionRecord(&l.lease.Spec)
	raw, err := json.Marshal(record)
	return record, raw, err
}

// Create implements resourcelock.Interface: the Lease was deleted.
func (l *Lock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.create(ctx, resourcelock.LeaderElectionRecordToLeaseSpec(&record))
}

// Update implements resourcelock.Interface.
func (l *Lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.update(ctx, resourcelock.LeaderElectionRecordToLeaseSpec(&record))
}

// RecordEvent implements resourcelock.Interface. The Lease and the log say who leads.
func (l *Lock) RecordEvent(string) {}

// Identity implements resourcelock.Interface.
func (l *Lock) Identity() string { return l.identity }

// Describe implements resourcelock.Interface.
func (l *Lock) Describe() string { return Namespace + "/" + Name }

func (l *Lock) read(ctx context.Context) error {
	lease, err := l.leases.Get(ctx, Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading Lease %s: %w", l.Describe(), err)
	}
	if owner := lease.Annotations[Annotation]; owner != "" && owner != l.installation {
		err := &TakenError{Installation: owner}
		l.taken(err)
		return err
	}
	l.lease = lease
	return nil
}

func (l *Lock) create(ctx context.Context, spec coordinationv1.LeaseSpec) error {
	lease, err := l.leases.Create(ctx, l.claimed(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: Name}}, spec), metav1.CreateOptions{})
	return l.wrote(lease, err)
}

func (l *Lock) update(ctx context.Context, spec coordinationv1.LeaseSpec) error {
	lease, err := l.leases.Update(ctx, l.claimed(l.lease.DeepCopy(), spec), metav1.UpdateOptions{})
	return l.wrote(lease, err)
}

// claimed returns the Lease with a spec and this installation's claim.
func (l *Lock) claimed(lease *coordinationv1.Lease, spec coordinationv1.LeaseSpec) *coordinationv1.Lease {
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, Annotation, l.installation)
	lease.Spec = spec
	return lease
}

func (l *Lock) wrote(lease *coordinationv1.Lease, err error) error {
	if err != nil {
		return fmt.Errorf("writing Lease %s: %w", l.Describe(), err)
	}
	l.lease = lease
	return nil
}
