package local

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// identity is a certificate to be made: who it is for the API server (the
// common name is the user, the organisation the group), and the names and
// addresses that it serves under.
type identity struct {
	file, user, group string
	hosts             []string
}

var identities = []identity{
	{file: "apiserver", user: "kube-apiserver", hosts: []string{
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local", "127.0.0.1", nodeAddress, apiServiceIP}},
	{file: "admin", user: "shoalcluster-admin", group: "system:masters"},
	{file: "controller-manager", user: "system:kube-controller-manager"},
	{file: "scheduler", user: "system:kube-scheduler"},
	{file: "proxy", user: "system:kube-proxy"},
	{file: "coredns", user: "system:coredns"},
	// The API server, when it passes a request on to an extension API server.
	{file: "front-proxy", user: frontProxyUser},
	// The API server dials the kubelet by the node's address (logs, exec), so
	// the kubelet's certificate names it.
	{file: "kubelet", user: "system:node:" + nodeName, group: "system:nodes",
		hosts: []string{nodeName, nodeAddress, "127.0.0.1"}},
}

const frontProxyUser = "front-proxy-client"

const certificateLife = 365 * 24 * time.Hour

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

// writePKI makes every key and certificate of a cluster in dir, new ones each
// time: an elliptic key costs microseconds, and nothing stale can survive.
func writePKI(dir string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ca, err := newAuthority()
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if err := writeKey(dir, "ca", ca.key); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), ca.pem, 0o644); err != nil {
		return nil, err
	}
	for _, who := range identities {
		if err := ca.write(dir, who); err != nil {
			return nil, fmt.Errorf("certificate %s: %w", who.file, err)
		}
	}
	// The key that signs ServiceAccount tokens.
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	return ca, writeKey(dir, "service-account", key)
}

func newKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func newAuthority() (*authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template, err := newTemplate("shoalcluster-ca")
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{certificate, key, pemBlock("CERTIFICATE", der)}, nil
}

func newTemplate(user string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: user},
		// A clock that is set back a little must not make it invalid.
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(certificateLife),
	}, nil
}

func (a *authority) write(dir string, who identity) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	template, err := newTemplate(who.user)
	if err != nil {
		return err
	}
	if who.group != "" {
		template.Subject.Organization = []string{who.group}
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(who.hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, host := range who.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return err
	}
	if err := writeKey(dir, who.file, key); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, who.file+".crt"), pemBlock("CERTIFICATE", der), 0o644)
}

func writeKey(dir, name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".key"), pemBlock("EC PRIVATE KEY", der), 0o600)
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// kubeconfig returns a kubeconfig for an identity in dir. The certificates are
// inside, so the file works wherever it is copied to.
func (a *authority) kubeconfig(dir, file string) ([]byte, error) {
	certificate, err := os.ReadFile(filepath.Join(dir, file+".crt"))
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(filepath.Join(dir, file+".key"))
	if err != nil {
		return nil, err
	}
	encode := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: shoalcluster
contexts:
- name: shoalcluster
  context: {cluster: shoalcluster, user: %[1]s}
clusters:
- name: shoalcluster
  cluster:
    server: %[2]s
    certificate-authority-data: %[3]s
users:
- name: %[1]s
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
`, file, apiServerURL, encode(a.pem), encode(certificate), encode(key)), nil
}
