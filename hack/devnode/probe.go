package devnode

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// eagerly is how often a readiness probe is tried until its first success. It only makes a pod ready sooner: until
// then failures do not count.
const eagerly = 100 * time.Millisecond

// probe is one probe of a container. The API server has defaulted its thresholds and times.
type probe struct {
	spec      *corev1.Probe
	container *corev1.Container
	podIP     string
	// eager probes are tried in quick succession until the first success.
	eager bool
}

// watch probes until ctx ends, and reports the first verdict and every change of it: nil for healthy, else what is
// wrong.
func (p *probe) watch(ctx context.Context, report func(error)) {
	pause := time.Duration(p.spec.InitialDelaySeconds) * time.Second
	period := time.Duration(p.spec.PeriodSeconds) * time.Second
	var successes, failures int32
	verdict := 0 // 1 healthy, -1 not
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		err := p.once(ctx)
		if ctx.Err() != nil {
			return
		}
		pause = period
		if err == nil {
			successes, failures = successes+1, 0
			if successes >= p.spec.SuccessThreshold && verdict != 1 {
				verdict = 1
				report(nil)
			}
			continue
		}
		successes, failures = 0, failures+1
		if p.eager && verdict == 0 {
			pause = min(pause, eagerly)
		}
		if failures >= p.spec.FailureThreshold && verdict != -1 && (!p.eager || verdict != 0) {
			verdict = -1
			report(err)
		}
	}
}

// once asks the container once.
func (p *probe) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(p.spec.TimeoutSeconds)*time.Second)
	defer cancel()
	if p.spec.TCPSocket != nil {
		return p.tcp(ctx, p.spec.TCPSocket)
	}
	return p.http(ctx, p.spec.HTTPGet)
}

func (p *probe) tcp(ctx context.Context, action *corev1.TCPSocketAction) error {
	address, err := p.address(action.Host, action.Port)
	if err != nil {
		return err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (p *probe) http(ctx context.Context, action *corev1.HTTPGetAction) error {
	address, err := p.address(action.Host, action.Port)
	if err != nil {
		return err
	}
	scheme := "http"
	if action.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+action.Path, nil)
	if err != nil {
		return err
	}
	for _, header := range action.HTTPHeaders {
		req.Header.Add(header.Name, header.Value)
		if http.CanonicalHeaderKey(header.Name) == "Host" {
			req.Host = header.Value
		}
	}
	// Like kubelet, a probe trusts any certificate, makes a connection of its own, and takes a redirect for an answer.
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe: %s", resp.Status)
	}
	return nil
}

// address resolves the port of a probe, which may be a container port's name, on the pod's address by default.
func (p *probe) address(host string, port intstr.IntOrString) (string, error) {
	if host == "" {
		host = p.podIP
	}
	if port.Type == intstr.Int {
		return net.JoinHostPort(host, strconv.Itoa(port.IntValue())), nil
	}
	for _, candidate := range p.container.Ports {
		if candidate.Name == port.StrVal {
			return net.JoinHostPort(host, strconv.Itoa(int(candidate.ContainerPort))), nil
		}
	}
	return "", fmt.Errorf("there is no port named %s", port.StrVal)
}
