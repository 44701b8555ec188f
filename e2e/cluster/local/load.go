package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

func loadCommand(args []string) error {
	set, dir := flags("load")
	c, err := parseCluster(set, dir, args)
	if err != nil {
		return err
	}
	if set.NArg() == 0 {
		return errors.New("name the image archives to load: shoalcluster load --dir DIR FILE.tar...")
	}
	for _, archive := range set.Args() {
		if err := c.Load(archive); err != nil {
			return err
		}
	}
	return nil
}

// Load loads an image archive into the cluster's containerd.
func (c *Cluster) Load(archive string) error {
	if err := requireRoot(); err != nil {
		return err
	}
	for _, p := range readRecord(c.recordPath()) {
		if p.Name != "containerd" || !p.alive() {
			continue
		}
		// The socket, seen through the mount namespace of its owner.
		socket := fmt.Sprintf("/proc/%d/root/run/containerd/containerd.sock", p.PID)
		load := exec.Command("ctr", "--address="+socket, "--namespace=k8s.io", "images", "import", archive)
		load.Stdout, load.Stderr = os.Stderr, os.Stderr
		if err := load.Run(); err != nil {
			return fmt.Errorf("loading %s: %w", archive, err)
		}
		return nil
	}
	return c.notUp()
}
