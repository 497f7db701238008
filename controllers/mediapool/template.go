package mediapool

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// templateHash tells the pods that a pool makes now from those that it made before: it
// covers all that decides a pod, the image included, but what differs from port to port.
// It is the same for every operator of a version, however it was built: keys are sorted,
// and what is not set is left out.
func templateHash(pool *v1alpha1.MediaPool, image string) (string, error) {
	pod := podFor(pool, 0, image, "", "")
	pod.ObjectMeta = metav1.ObjectMeta{Labels: pod.Labels, Annotations: pod.Annotations}
	plain, err := json.Marshal(pod)
	if err != nil {
		return "", fmt.Errorf("hashing the pod template of pool %s: %w", pool.Name, err)
	}
	var sorted any
	if err := json.Unmarshal(plain, &sorted); err != nil {
		return "", fmt.Errorf("hashing the pod template of pool %s: %w", pool.Name, err)
	}
	canonical, err := json.Marshal(sorted)
	if err != nil {
		return "", fmt.Errorf("hashing the pod template of pool %s: %w", pool.Name, err)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:5]), nil
}

// updateTemplate sets the pool's status.template, in memory. A change starts the deadline of
// the rooms in older pods.
func updateTemplate(pool *v1alpha1.MediaPool, image string, now metav1.Time) error {
	hash, err := templateHash(pool, image)
	if err != nil {
		return err
	}
	if hash != pool.Status.Template.Hash {
		pool.Status.Template = v1alpha1.TemplateStatus{Hash: hash, Since: &now}
	}
	return nil
}
