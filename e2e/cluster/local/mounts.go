package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// nodeBin holds one link for each component, so that each has its own name in
// the process list; it is in the memory of the node's own /run.
const nodeBin = "/run/shoalcluster-bin"

var nodeTools = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns"}

// setUpMounts makes the mount namespace that the process is in into the file
// system of a node: the host's, with a /run and a /var of its own. So the
// runtime, the CNI plugins and the kubelet keep their usual paths and none of
// them writes to the host's, and all mounts that they make end with the
// namespace. The namespace is private already (see startNode).
func setUpMounts(dir string) error {
	// Hold DIR, which the new /run or /var may be about to hide.
	folder, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	defer unix.Close(folder)
	if err := makeVar(filepath.Join(dir, "var")); err != nil {
		return err
	}
	steps := []func() error{
		func() error { return mount("tmpfs", "/run", "tmpfs", "mode=755") },
		func() error { return bindFolder(fmt.Sprintf("/proc/self/fd/%d", folder), nodeRoot) },
		makeNodeBin,
		func() error { return bindFolder(nodeRoot+"/var", "/var") },
		maskKernelTunables,
		mountKernelFilesystems,
		// Mounts shall propagate between the node and its pods, as they do
		// elsewhere. These are peer groups of this namespace only.
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func mount(source, target, kind, options string) error {
	if err := unix.Mount(source, target, kind, 0, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", source, target, err)
	}
	return nil
}

func bind(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s on %s: %w", source, target, err)
	}
	return nil
}

func bindFolder(source, target string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	return bind(source, target)
}

func bindFile(source, target string) error {
	if err := os.WriteFile(target, nil, 0o755); err != nil {
		return err
	}
	return bind(source, target)
}

// makeVar lays out an empty /var.
func makeVar(dir string) error {
	for _, folder := range []string{"cache", "lib", "log", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(dir, "tmp"), 0o1777); err != nil {
		return err
	}
	if err := os.Symlink("/run/lock", filepath.Join(dir, "lock")); err != nil {
		return err
	}
	return os.Symlink("/run", filepath.Join(dir, "run"))
}

// makeNodeBin shows this program under the names of the components. It is bound,
// not linked: its file may be hidden by the new /run and /var.
func makeNodeBin() error {
	for _, folder := range []string{nodeBin, "/run/lock"} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	if err := bindFile("/proc/self/exe", nodeBin+"/shoalcluster"); err != nil {
		return err
	}
	for _, tool := range nodeTools {
		if err := os.Symlink("shoalcluster", filepath.Join(nodeBin, tool)); err != nil {
			return err
		}
	}
	return nil
}

// maskKernelTunables shows the kubelet the values that it wants where the
// kernel has others. It would set them, for the whole machine: one of them
// makes the machine restart on a kernel fault.
func maskKernelTunables() error {
	masks := filepath.Join("/run", "shoalcluster-sysctl")
	if err := os.MkdirAll(masks, 0o755); err != nil {
		return err
	}
	for tunable, wanted := range map[string]string{
		"vm/overcommit_memory":      "1",
		"vm/panic_on_oom":           "0",
		"kernel/panic":              "10",
		"kernel/panic_on_oops":      "1",
		"kernel/keys/root_maxkeys":  "1000000",
		"kernel/keys/root_maxbytes": "25000000",
	} {
		path := filepath.Join("/proc/sys", tunable)
		value, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(value)) == wanted {
			continue
		}
		mask := filepath.Join(masks, strings.ReplaceAll(tunable, "/", "."))
		if err := os.WriteFile(mask, []byte(wanted+"\n"), 0o644); err != nil {
			return err
		}
		if err := bind(mask, path); err != nil {
			return err
		}
	}
	return nil
}

// mountKernelFilesystems mounts what eBPF programs in pods ask for where the
// host has not mounted it. A kernel without them is no reason to fail.
func mountKernelFilesystems() error {
	for path, kind := range map[string]string{
		"/sys/kernel/tracing": "tracefs",
		"/sys/fs/bpf":         "bpf",
	} {
		if _, err := os.Stat(path); err != nil || mountedKind(path) == kind {
			continue
		}
		if err := mount(kind, path, kind, ""); err != nil {
			fmt.Fprintf(os.Stderr, "shoalcluster: warning: %v: eBPF in pods may not work\n", err)
		}
	}
	return nil
}

// mountedKind returns the type of the file system mounted exactly on path.
func mountedKind(path string) string {
	table, _ := os.ReadFile("/proc/self/mounts")
	kind := ""
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[1] == path {
			kind = fields[2]
		}
	}
	return kind
}
