package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// netnsDir is where ip-netns(8) looks for named network namespaces.
const netnsDir = "/run/netns"

// nameNetns gives a name to the network namespace of a process, as "ip netns
// attach" does, but without turning netnsDir itself into a mount.
func nameNetns(name string, pid int) error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(netnsDir, name)
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		return err
	}
	if err := unix.Mount(fmt.Sprintf("/proc/%d/ns/net", pid), path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("naming the network namespace %s: %w", name, err)
	}
	return nil
}

// removeNetns takes the name away; the namespace ends with its last process.
func removeNetns(name string) error {
	path := filepath.Join(netnsDir, name)
	for {
		err := unix.Unmount(path, unix.MNT_DETACH)
		if err == nil {
			continue // An earlier crash may have mounted it twice.
		}
		// EINVAL: the file is there and nothing is mounted on it.
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
		break
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// Only an empty folder goes: others may have namespaces there.
	_ = unix.Rmdir(netnsDir)
	return nil
}

// enterNetns moves the calling thread into a cluster's network. The caller has
// locked the thread, and does not unlock it.
func enterNetns(c *Cluster) error {
	handle, err := os.Open(c.netnsPath())
	if err != nil {
		return c.notUp()
	}
	defer handle.Close()
	if err := unix.Setns(int(handle.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the network namespace %s: %w (a stale name? 'shoalcluster up' renews it)", c.Name, err)
	}
	return nil
}

// runInNetns runs a command inside a cluster's network: a child inherits the
// namespaces of the thread that starts it.
func runInNetns(c *Cluster, command *exec.Cmd) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // Never unlocked, so the thread ends with the goroutine.
		err := enterNetns(c)
		if err == nil {
			err = command.Run()
		}
		done <- err
	}()
	return <-done
}

// setUpNetwork prepares the network namespace that the process is in. The node's
// address is on a bridge without ports, which stands in for a dummy device where
// the kernel has none; pods hang on point-to-point links (see conf/cni.conflist).
func setUpNetwork() error {
	for _, arguments := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", "shoal0", "type", "bridge"},
		{"address", "add", nodeAddress + "/32", "dev", "shoal0"},
		{"link", "set", "shoal0", "up"},
		// Without a default route a ClusterIP is unroutable before kube-proxy's
		// rules get to see the packet.
		{"route", "add", "default", "dev", "shoal0", "src", nodeAddress},
	} {
		if output, err := exec.Command("ip", arguments...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", arguments, err, output)
		}
	}
	// These files are those of the reader's network namespace.
	for file, value := range map[string]string{
		"ip_forward":              "1",
		"conf/all/send_redirects": "0",
	} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+file, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}
