package controlplane

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// Files in the directory of certificates, beside those that envtest names.
const (
	authorityFile      = "authority.crt"
	serviceAccountsKey = "service-accounts.key"
	kubeletClient      = "kubelet-client"
)

// admitNodes sets the API server up for nodes: it listens on their network, calls their kubelets, and vouches for
// service accounts; its certificate is good for the address that pods know it by.
func (p *Plane) admitNodes(nodes Nodes) (err error) {
	if p.authority, err = newAuthority(); err != nil {
		return err
	}
	service := nodes.Services.Masked().Addr().Next()
	address := nodes.Address.String()
	if err := p.authority.write(certsDir(p.dir), "apiserver", certificate{
		name:      "kube-apiserver",
		addresses: []net.IP{net.ParseIP(address), net.ParseIP(service.String()), net.IPv4(127, 0, 0, 1)},
		names:     []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
	}); err != nil {
		return err
	}
	if err := p.authority.write(certsDir(p.dir), kubeletClient, certificate{name: "kube-apiserver", group: "system:masters"}); err != nil {
		return err
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(certsDir(p.dir), name) }
	for name, content := range map[string][]byte{authorityFile: p.authority.pem, serviceAccountsKey: key.pem} {
		if err := os.WriteFile(in(name), content, 0o600); err != nil {
			return fmt.Errorf("write certificates of the control plane: %w", err)
		}
	}
	server := p.env.ControlPlane.GetAPIServer()
	// With the certificate in place envtest makes none, and takes the authority from here.
	server.SecureServing.CA = p.authority.pem
	server.SecureServing.Address, server.SecureServing.Port = address, "6443"
	server.Configure().
		Set("advertise-address", address).
		Set("service-cluster-ip-range", nodes.Services.String()).
		Set("authorization-mode", "Node,RBAC").
		Append("enable-admission-plugins", "NodeRestriction", "ServiceAccount").
		Disable("disable-admission-plugins").
		Set("service-account-key-file", in(serviceAccountsKey)).
		Set("service-account-signing-key-file", in(serviceAccountsKey)).
		Set("service-account-issuer", "https://kubernetes.default.svc.cluster.local").
		Set("kubelet-preferred-address-types", "InternalIP").
		Set("kubelet-certificate-authority", in(authorityFile)).
		Set("kubelet-client-certificate", in(kubeletClient+".crt")).
		Set("kubelet-client-key", in(kubeletClient+".key"))
	return nil
}

// ClientAuthority returns the certificate (PEM) of the authority that kubelets trust the API server by. The plane has Nodes.
func (p *Plane) ClientAuthority() []byte { return p.authority.pem }

// ServingCertificate writes <dir>/<name>.crt and .key, by which the API server trusts the kubelet at address. The plane
// has Nodes.
func (p *Plane) ServingCertificate(dir, name string, address net.IP) error {
	return p.authority.write(dir, name, certificate{name: name, addresses: []net.IP{address}})
}
