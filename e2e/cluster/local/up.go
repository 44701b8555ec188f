package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

func upCommand(args []string) error {
	set, dir := flags("up")
	timeout := set.Duration("timeout", 2*time.Minute, "how long the cluster may take to be ready")
	pause := set.String("pause", "", "the pause `program` (default: shoalcluster-pause beside this program)")
	c, err := parseCluster(set, dir, args)
	if err != nil {
		return err
	}
	return c.Up(*pause, *timeout)
}

// Up brings the cluster up, or finds that it is. What an earlier run left is
// cleared first, however that run ended.
func (c *Cluster) Up(pause string, timeout time.Duration) error {
	p := progress{time.Now()}
	if err := requireRoot(); err != nil {
		return err
	}
	cniBin, err := findPrerequisites()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if pause == "" {
		pause = filepath.Join(filepath.Dir(self), "shoalcluster-pause")
	}
	if _, err := os.Stat(pause); err != nil {
		return fmt.Errorf("%w: build it with e2e/cluster/build.sh, or name it with --pause", err)
	}
	if err := c.checkOwned(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if c.ready() == nil {
		p.printf("the cluster in %s is up already", c.Dir)
		return nil
	}
	// From here on an interrupt ends the node first, to be cleaned up after.
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	if err := c.stop(); err != nil {
		return fmt.Errorf("clearing what an earlier run left: %w", err)
	}
	if err := c.prepare(self, pause, cniBin); err != nil {
		return err
	}
	if err := c.startAndWait(self, timeout, p.since, interrupt); err != nil {
		if stopped := c.stop(); stopped != nil {
			err = errors.Join(err, stopped)
		}
		return fmt.Errorf("%w (nothing is left running; the logs are in %s)", err, c.path("log"))
	}
	p.printf("the cluster in %s is up; try: %s run --dir %s -- kubectl get pods --all-namespaces", c.Dir, self, c.Dir)
	return nil
}

// findPrerequisites looks for the programs that are not in this binary, and
// returns the folder of the CNI plugins.
func findPrerequisites() (string, error) {
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	for _, program := range []string{"containerd", "ctr", "runc", "ip", "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("%s is not installed: run e2e/cluster/prerequisites.sh", program)
		}
	}
	return findCNI()
}

// ready says whether every component of the cluster runs and its node is ready.
func (c *Cluster) ready() error {
	recorded := readRecord(c.recordPath())
	if len(recorded) == 0 {
		return errors.New("no component is running")
	}
	for _, p := range recorded {
		if !p.alive() {
			return fmt.Errorf("%s is not running", p.Name)
		}
	}
	probe := exec.Command("/proc/self/exe", probeCommandName, c.path("pki"))
	if output, err := runOutput(c, probe); err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	return nil
}

// prepare writes the files of a new cluster over those of an earlier run.
func (c *Cluster) prepare(self, pause, cniBin string) error {
	// The record comes first: it marks the folder as ours if we are killed now.
	if err := writeRecord(c.recordPath(), nil); err != nil {
		return err
	}
	for _, old := range []string{"conf", "log", "pki", "var"} {
		if err := os.RemoveAll(c.path(old)); err != nil {
			return err
		}
	}
	for _, folder := range []string{"conf", "log"} {
		if err := os.MkdirAll(c.path(folder), 0o755); err != nil {
			return err
		}
	}
	ca, err := writePKI(c.path("pki"))
	if err != nil {
		return err
	}
	if err := writeKubeconfigs(c, ca); err != nil {
		return err
	}
	if err := writeConfigurations(c, cniBin); err != nil {
		return err
	}
	if err := writeHostTools(c, self); err != nil {
		return err
	}
	if err := makeCgroups(c); err != nil {
		return err
	}
	return writeImage(c.pauseArchive(), imageSpec{
		name:       pauseImage,
		entrypoint: []string{"/pause"},
		files:      []mapping{{pause, "/pause"}},
	})
}

func (c *Cluster) pauseArchive() string { return c.path("conf", "pause.tar") }

// startAndWait starts the node and waits until it is ready, or interrupted.
func (c *Cluster) startAndWait(self string, timeout time.Duration, since time.Time, interrupt <-chan os.Signal) error {
	node, err := startNode(c, self, c.pauseArchive(), timeout, since)
	if err != nil {
		return fmt.Errorf("new network and mount namespaces: %w", err)
	}
	named := nameNetns(c.Name, node.Process.Pid)
	ended := make(chan error, 1)
	go func() { ended <- node.Wait() }()
	select {
	case err = <-ended:
	case received := <-interrupt:
		_ = node.Process.Kill()
		<-ended
		err = fmt.Errorf("interrupted (%v)", received)
	}
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return errors.New("the cluster did not come up") // It said why.
	}
	return errors.Join(err, named)
}
