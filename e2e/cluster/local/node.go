package local

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// The commands that shoalcluster starts of itself.
const (
	nodeCommandName  = "internal-node"
	probeCommandName = "internal-probe"
)

// nodePath finds the runtime, the CNI plugins' tools and the links of nodeBin.
const nodePath = nodeBin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// startNode starts "internal-node" in new namespaces. Everything that it starts
// in turn is in them too. Its mounts are private: Go's runtime sees to that
// when it unshares a mount namespace.
func startNode(c *Cluster, self, pause string, timeout time.Duration, since time.Time) (*exec.Cmd, error) {
	// The node is to die with us, and the kernel means the thread by "us".
	runtime.LockOSThread()
	// By its path, not by /proc/self/exe: the node binds its own program, which
	// only works if it was opened in the node's mount namespace.
	node := exec.Command(self, nodeCommandName, c.Dir, c.Name, pause,
		timeout.String(), strconv.FormatInt(since.UnixNano(), 10))
	node.Args[0] = "shoalcluster"
	node.Stderr = os.Stderr
	node.Env = []string{"PATH=" + nodePath, "HOME=/root", markerVariable + "=" + c.Name}
	node.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		Pdeathsig:    syscall.SIGKILL,
	}
	return node, node.Start()
}

// nodeCommand sets up the namespaces that it is in and brings up the node. It
// ends when the node is ready, or with an error that it has printed.
func nodeCommand(args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("%s is for shoalcluster's own use", nodeCommandName)
	}
	dir, pause := args[0], args[2]
	timeout, err := time.ParseDuration(args[3])
	if err != nil {
		return err
	}
	nanoseconds, err := strconv.ParseInt(args[4], 10, 64)
	if err != nil {
		return err
	}
	since := time.Unix(0, nanoseconds)
	// The archive may be in a folder that the node does not see.
	archive, err := os.Open(pause)
	if err != nil {
		return err
	}
	defer archive.Close()
	if err := setUpMounts(dir); err != nil {
		return err
	}
	if err := setUpNetwork(); err != nil {
		return err
	}
	client, err := newAPI(pki)
	if err != nil {
		return err
	}
	s := &supervisor{
		progress: progress{since},
		cluster:  &Cluster{Dir: dir, Name: args[1]},
		deadline: since.Add(timeout),
		failed:   make(chan error, 1),
	}
	return s.bringUp(client, archive)
}

// bringUp starts the components, each as soon as what it needs is there.
func (s *supervisor) bringUp(client *api, pause *os.File) error {
	if err := s.start(etcdCommand()); err != nil {
		return err
	}
	if err := s.start(containerdCommand()); err != nil {
		return err
	}
	if err := s.await("etcd ready", "etcd", healthy("http://127.0.0.1:2379/readyz")); err != nil {
		return err
	}
	if err := s.start(apiServerCommand()); err != nil {
		return err
	}
	err := inParallel(
		func() error { return s.runtimeReady(pause) },
		func() error { return s.await("API server ready", "kube-apiserver", client.ready) },
	)
	if err != nil {
		return err
	}
	for _, command := range [][]string{kubeletCommand(), controllerManagerCommand(), schedulerCommand(), proxyCommand()} {
		if err := s.start(command); err != nil {
			return err
		}
	}
	if err := client.allowDNS(); err != nil {
		return fmt.Errorf("permissions of CoreDNS: %w", err)
	}
	if err := s.start(coreDNSCommand()); err != nil {
		return err
	}
	return inParallel(
		func() error { return s.await("node ready", "kubelet", client.nodeReady) },
		func() error {
			return s.await("controllers ready", "kube-controller-manager", client.accountReady)
		},
		func() error {
			return s.await("scheduler ready", "kube-scheduler", healthy("https://127.0.0.1:10259/readyz"))
		},
		func() error {
			return s.await("Service proxy ready", "kube-proxy", healthy("http://127.0.0.1:10256/healthz"))
		},
		func() error { return s.await("DNS ready", "coredns", healthy("http://127.0.0.1:8054/ready")) },
	)
}

// runtimeReady waits for containerd and gives it the sandbox image.
func (s *supervisor) runtimeReady(pause *os.File) error {
	err := s.await("containerd ready", "containerd", func() error {
		return exec.Command("ctr", "version").Run()
	})
	if err != nil {
		return err
	}
	load := exec.Command("ctr", "--namespace=k8s.io", "images", "import", "-")
	load.Stdin = pause
	if output, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("loading the sandbox image: %w: %s", err, output)
	}
	return nil
}

// probeCommand asks a cluster that is up whether it is ready. It runs inside
// the cluster's network.
func probeCommand(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s is for shoalcluster's own use", probeCommandName)
	}
	client, err := newAPI(args[0])
	if err != nil {
		return err
	}
	return client.nodeReady()
}
