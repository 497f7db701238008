// Command probe is what the pods of the tests run: a server, and clients to try the cluster with.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch args[0] {
	case "serve": // HTTP at 8080, an echo of UDP at 9000
		fmt.Println("serving")
		go echo()
		return http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			name, _ := os.Hostname()
			fmt.Fprintln(w, "hello from", name)
		}))
	case "get": // URL
		return get(http.DefaultTransport, args[1], "")
	case "api": // the API server, as the pod's service account
		return api()
	case "write": // FILE
		return os.WriteFile(args[1], []byte("written"), 0o600)
	}
	return errors.New("what?")
}

func echo() {
	conn, err := net.ListenPacket("udp", ":9000")
	if err != nil {
		panic(err)
	}
	for buf := make([]byte, 1500); ; {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			panic(err)
		}
		_, _ = conn.WriteTo(buf[:n], from)
	}
}

func api() error {
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return get(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, "https://kubernetes.default.svc/version", string(token))
}

func get(transport http.RoundTripper, url, token string) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 2 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}
