package local

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func readCertificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	if _, err := writePKI(dir); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(readCertificate(t, filepath.Join(dir, "ca.crt")))
	for _, who := range identities {
		certificate := readCertificate(t, filepath.Join(dir, who.file+".crt"))
		if certificate.Subject.CommonName != who.user {
			t.Errorf("%s: user %q, want %q", who.file, certificate.Subject.CommonName, who.user)
		}
		if got := strings.Join(certificate.Subject.Organization, ","); got != who.group {
			t.Errorf("%s: group %q, want %q", who.file, got, who.group)
		}
		client := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if _, err := certificate.Verify(client); err != nil {
			t.Errorf("%s as a client: %v", who.file, err)
		}
		for _, host := range who.hosts {
			server := x509.VerifyOptions{Roots: roots, DNSName: host}
			if _, err := certificate.Verify(server); err != nil {
				t.Errorf("%s serving %s: %v", who.file, host, err)
			}
		}
		if len(who.hosts) == 0 {
			if _, err := certificate.Verify(x509.VerifyOptions{Roots: roots}); err == nil {
				t.Errorf("%s is good for a server, and should not be", who.file)
			}
		}
	}
	info, err := os.Stat(filepath.Join(dir, "ca.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("ca.key: mode %v, error %v: want 0600", info.Mode(), err)
	}
}

func TestAuthoritiesDiffer(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, two} {
		if _, err := writePKI(dir); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(readCertificate(t, filepath.Join(one, "ca.crt")))
	admin := readCertificate(t, filepath.Join(two, "admin.crt"))
	if _, err := admin.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("one cluster accepts the administrator of another")
	}
}
