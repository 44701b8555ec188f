package local

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The addresses are the same in every cluster: each has a network of its own.
const (
	nodeName    = "node-1"
	nodeAddress = "10.244.0.1"
	podSubnet   = "10.244.0.0/24"
	serviceCIDR = "10.96.0.0/16"
	// The first address of serviceCIDR is the Service "kubernetes".
	apiServiceIP = "10.96.0.1"
	apiServerURL = "https://" + nodeAddress + ":6443"
)

// nodeRoot is where the cluster's folder is seen inside the node's mount
// namespace. It is short whatever DIR is, which keeps unix sockets under the
// limit of 108 bytes, and the same for all clusters, which keeps the
// configuration files free of paths of the host.
const nodeRoot = "/run/shoalcluster"

// Cluster names what belongs to the cluster of one folder.
type Cluster struct {
	// Dir is the absolute path of the folder, without symbolic links.
	Dir string
	// Name is the network namespace, and the cgroup that the pods are under.
	Name string
}

// NewCluster returns the cluster of dir, which need not exist.
func NewCluster(dir string) (*Cluster, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	// One folder must give one name, by whichever path it is reached.
	if real, err := filepath.EvalSymlinks(absolute); err == nil {
		absolute = real
	} else if parent, err := filepath.EvalSymlinks(filepath.Dir(absolute)); err == nil {
		absolute = filepath.Join(parent, filepath.Base(absolute))
	}
	if absolute == "/" {
		return nil, errors.New("the cluster's folder cannot be /")
	}
	sum := sha256.Sum256([]byte(absolute))
	return &Cluster{Dir: absolute, Name: fmt.Sprintf("shoal-%x", sum[:4])}, nil
}

func (c *Cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.Dir}, parts...)...)
}

func (c *Cluster) netnsPath() string { return filepath.Join(netnsDir, c.Name) }

func (c *Cluster) recordPath() string { return c.path(recordFile) }

// checkOwned refuses a folder that holds something else than a cluster: "up"
// wipes parts of it and "down" removes it.
func (c *Cluster) checkOwned() error {
	entries, err := os.ReadDir(c.Dir)
	if errors.Is(err, os.ErrNotExist) || (err == nil && len(entries) == 0) {
		return nil
	}
	if err != nil {
		return err
	}
	// Where the record is gone (the folder was removed from under a running
	// cluster), the name of the network still tells that there was one.
	for _, proof := range []string{c.recordPath(), c.netnsPath()} {
		if _, err := os.Lstat(proof); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s is not a cluster's folder (it has files, but no %s): nothing was done; a cluster wants a new or an empty one", c.Dir, recordFile)
}

// lock makes "up" and "down" of one cluster wait for one another. The lock is
// on the folder itself, so there is no lock file to leave behind, and the
// kernel drops it with the process however that ends.
func (c *Cluster) lock() (*os.File, error) {
	folder, err := os.Open(c.Dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		fmt.Fprintf(os.Stderr, "shoalcluster: waiting for another command on %s to end\n", c.Dir)
		if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
			folder.Close()
			return nil, err
		}
	}
	return folder, nil
}

func requireRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("namespaces, mounts and containers need root: run it as root")
	}
	return nil
}

func (c *Cluster) notUp() error {
	return fmt.Errorf("no cluster is up in %s: start it with 'shoalcluster up --dir %s'", c.Dir, c.Dir)
}
