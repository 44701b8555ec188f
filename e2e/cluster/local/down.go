package local

import (
	"errors"
	"fmt"
	"os"
	"time"
)

func downCommand(args []string) error {
	set, dir := flags("down")
	c, err := parseCluster(set, dir, args)
	if err != nil {
		return err
	}
	return c.Down()
}

// Down stops the cluster and removes its folder. It may be repeated.
func (c *Cluster) Down() error {
	if err := requireRoot(); err != nil {
		return err
	}
	if err := c.checkOwned(); err != nil {
		return err
	}
	lock, err := c.lock()
	switch {
	case err == nil:
		defer lock.Close()
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	if err := c.stop(); err != nil {
		return err
	}
	// Everything mounted in the folder was so in the node's mount namespace
	// only: here it holds plain files.
	return os.RemoveAll(c.Dir)
}

// stop ends every process of the cluster, and what outlives processes: the
// name of the network namespace and the cgroups. All mounts, links and rules
// of the cluster end with its namespaces, and those with their processes.
func (c *Cluster) stop() error {
	const limit = 15 * time.Second
	recorded := readRecord(c.recordPath())
	// The components first, so that none restarts a container; then what
	// carries the marker (shims, and components of an "up" that was killed
	// before it recorded them); then the containers.
	for _, list := range []func() []process{
		func() []process { return recorded },
		func() []process { return markedProcesses(c.Name) },
		func() []process { return podProcesses(c) },
	} {
		if err := killAll(list, limit); err != nil {
			return err
		}
	}
	if err := removeNetns(c.Name); err != nil {
		return err
	}
	if err := removeCgroups(c); err != nil {
		return fmt.Errorf("removing the cluster's cgroups: %w", err)
	}
	return nil
}
