package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cgroupMounts returns every mounted cgroup hierarchy: one of version 2, or
// the controllers of version 1, or both.
func cgroupMounts() []string {
	table, _ := os.ReadFile("/proc/self/mounts")
	var found []string
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 2 && strings.HasPrefix(fields[2], "cgroup") && !slices.Contains(found, fields[1]) {
			found = append(found, fields[1])
		}
	}
	return found
}

// makeCgroups makes the cgroup that the pods are put under. The kubelet wants
// it to exist; what the controllers need it sets up itself.
func makeCgroups(c *Cluster) error {
	mounts := cgroupMounts()
	if len(mounts) == 0 {
		return errors.New("no cgroup hierarchy is mounted (/sys/fs/cgroup): containers cannot run here")
	}
	for _, hierarchy := range mounts {
		enableControllers(hierarchy)
		if err := os.MkdirAll(filepath.Join(hierarchy, c.Name), 0o755); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	return nil
}

// enableControllers hands the controllers of a version 2 hierarchy down to the
// groups below its root: the kubelet refuses a group that lacks one. It does
// nothing for version 1, nor where the root may not be changed; the kubelet
// then names what it misses.
func enableControllers(hierarchy string) {
	controllers, _ := os.ReadFile(filepath.Join(hierarchy, "cgroup.controllers"))
	for _, controller := range strings.Fields(string(controllers)) {
		_ = os.WriteFile(filepath.Join(hierarchy, "cgroup.subtree_control"), []byte("+"+controller), 0)
	}
}

// cgroupFolders returns the cluster's cgroups, the deepest first.
func cgroupFolders(c *Cluster) []string {
	var folders []string
	for _, hierarchy := range cgroupMounts() {
		_ = filepath.WalkDir(filepath.Join(hierarchy, c.Name), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				folders = append(folders, path)
			}
			return nil // What vanished during the walk is what we want gone.
		})
	}
	slices.Reverse(folders)
	return folders
}

// podProcesses returns the processes of the cluster's containers.
func podProcesses(c *Cluster) []process {
	var found []process
	seen := map[int]bool{}
	for _, folder := range cgroupFolders(c) {
		list, _ := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
		for _, field := range strings.Fields(string(list)) {
			pid, err := strconv.Atoi(field)
			if err != nil || seen[pid] {
				continue
			}
			seen[pid] = true
			if p, err := newProcess(processName(pid), pid); err == nil {
				found = append(found, p)
			}
		}
	}
	return found
}

// removeCgroups removes the cluster's cgroups once their processes ended. The
// kernel may need a moment after the last one.
func removeCgroups(c *Cluster) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		var failure error
		for _, folder := range cgroupFolders(c) {
			if err := os.Remove(folder); err != nil && !errors.Is(err, os.ErrNotExist) {
				failure = err
			}
		}
		if failure == nil || time.Now().After(deadline) {
			return failure
		}
		time.Sleep(20 * time.Millisecond)
	}
}
