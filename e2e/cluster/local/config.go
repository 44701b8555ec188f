package local

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed conf
var configurations embed.FS

const pauseImage = "shoalcluster.local/pause:1"

// configFiles says where in DIR/conf each file of conf/ goes.
var configFiles = map[string]string{
	"containerd.toml": "containerd.toml",
	"cni.conflist":    "cni/10-shoal.conflist",
	"kubelet.yaml":    "kubelet.yaml",
	"kube-proxy.yaml": "kube-proxy.yaml",
	"Corefile":        "Corefile",
	"resolv.conf":     "resolv.conf",
}

// cniFolders are where distributions put the CNI plugins.
var cniFolders = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

func findCNI() (string, error) {
	for _, folder := range cniFolders {
		if _, err := os.Stat(filepath.Join(folder, "ptp")); err == nil {
			return folder, nil
		}
	}
	return "", fmt.Errorf("the CNI plugins are in none of %v: run e2e/cluster/prerequisites.sh", cniFolders)
}

// writeConfigurations writes the components' configuration files.
func writeConfigurations(c *Cluster, cniBin string) error {
	values := map[string]string{
		"Name":        c.Name,
		"Root":        nodeRoot,
		"NodeName":    nodeName,
		"NodeAddress": nodeAddress,
		"PodSubnet":   podSubnet,
		"PauseImage":  pauseImage,
		"CNIBin":      cniBin,
	}
	for source, destination := range configFiles {
		text, err := render(source, values)
		if err != nil {
			return err
		}
		path := c.path("conf", destination)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func render(source string, values map[string]string) ([]byte, error) {
	parsed, err := template.New(source).Option("missingkey=error").ParseFS(configurations, "conf/"+source)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = parsed.Execute(&text, values)
	return text.Bytes(), err
}

// writeKubeconfigs writes one kubeconfig for each client: the administrator's
// is for people and tests, the others for the components.
func writeKubeconfigs(c *Cluster, ca *authority) error {
	for _, who := range identities {
		if who.file == "apiserver" || who.file == "front-proxy" {
			continue // No component reads a kubeconfig for these.
		}
		text, err := ca.kubeconfig(c.path("pki"), who.file)
		if err != nil {
			return err
		}
		path := c.path("conf", who.file+".kubeconfig")
		if who.file == "admin" {
			path = c.path("kubeconfig")
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// hostTools are the names under which DIR/bin offers this binary to people.
var hostTools = []string{"kubectl", "helm", "shoalcluster"}

// writeHostTools writes DIR/bin and DIR/env, for use from the host.
func writeHostTools(c *Cluster, self string) error {
	if err := os.MkdirAll(c.path("bin"), 0o755); err != nil {
		return err
	}
	for _, tool := range hostTools {
		link := c.path("bin", tool)
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Symlink(self, link); err != nil {
			return err
		}
	}
	text := fmt.Sprintf(`# Source this file, then enter the cluster's network with
#   nsenter --net=%s
# (or use: shoalcluster run --dir %s -- COMMAND).
export SHOALCLUSTER_DIR=%q
export KUBECONFIG=%q
export PATH=%q:"$PATH"
`, c.netnsPath(), c.Dir, c.Dir, c.path("kubeconfig"), c.path("bin"))
	return os.WriteFile(c.path("env"), []byte(text), 0o644)
}
