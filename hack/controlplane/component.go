package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/rest"

	"voiceroom.dev/voiceroom/hack/controlplane/child"
)

// A component is a client of the API server that runs beside it.
type component struct {
	binary string
	flags  []string // beside those that all have
}

// components returns what is to run, in the order of their start.
func components(dir string, opts Options) []component {
	controllers := component{"kube-controller-manager", []string{"--kube-api-qps=500", "--kube-api-burst=1000"}}
	switch {
	case opts.Nodes != nil:
		controllers.flags = append(controllers.flags,
			"--root-ca-file="+filepath.Join(certsDir(dir), authorityFile),
			"--service-account-private-key-file="+filepath.Join(certsDir(dir), serviceAccountsKey))
		return []component{controllers, {"kube-scheduler", nil}}
	case opts.WithoutControllers:
		return nil
	default:
		controllers.flags = append(controllers.flags, "--controllers=garbage-collector-controller,namespace-controller")
		return []component{controllers}
	}
}

// start starts the component and waits until it says that it is healthy.
func (c component) start(ctx context.Context, dir string, opts Options, cfg *rest.Config) (*child.Process, error) {
	kubeconfig := filepath.Join(dir, c.binary+".kubeconfig")
	if err := WriteKubeconfig(kubeconfig, cfg); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(opts.Assets, c.binary), append([]string{
		"--kubeconfig=" + kubeconfig,
		"--leader-elect=false",
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(port),
		"--cert-dir=" + filepath.Join(dir, c.binary),
	}, c.flags...)...)
	cmd.Stdout, cmd.Stderr = opts.Log, opts.Log
	process, err := child.Start(cmd)
	if err != nil {
		return nil, err
	}
	url := "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) + "/healthz"
	if err := waitHealthy(ctx, process, url); err != nil {
		process.Stop(0)
		return nil, fmt.Errorf("wait for %s: %w", c.binary, err)
	}
	return process, nil
}

// waitHealthy returns when url answers 200, or why it never will.
func waitHealthy(ctx context.Context, process *child.Process, url string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	// The certificate is one that the process has just signed for itself.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		err := getOK(ctx, client, url)
		if err == nil {
			return nil
		}
		select {
		case <-process.Done():
			return fmt.Errorf("it ended with %s", process.State())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-retry.C:
		}
	}
}

func getOK(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

// freePort returns a TCP port of 127.0.0.1 that nobody listened on a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
