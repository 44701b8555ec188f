package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

func runCommand(args []string) error {
	set, dir := flags("run")
	c, err := parseCluster(set, dir, args)
	if err != nil {
		return err
	}
	if set.NArg() == 0 {
		return errors.New("name the command to run: shoalcluster run --dir DIR -- COMMAND ARG...")
	}
	return c.Run(set.Args())
}

// Run becomes a command inside the cluster's network, with the files of the
// host. It only returns if it cannot.
func (c *Cluster) Run(command []string) error {
	if err := requireRoot(); err != nil {
		return err
	}
	if _, err := os.Stat(c.path("kubeconfig")); err != nil {
		return c.notUp()
	}
	for variable, value := range map[string]string{
		"SHOALCLUSTER_DIR": c.Dir,
		"KUBECONFIG":       c.path("kubeconfig"),
		"PATH":             c.path("bin") + ":" + os.Getenv("PATH"),
	} {
		if err := os.Setenv(variable, value); err != nil {
			return err
		}
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	// A namespace belongs to a thread, and exec makes the calling thread the
	// only one of the process.
	runtime.LockOSThread()
	if err := enterNetns(c); err != nil {
		return err
	}
	if err := unix.Exec(program, command, os.Environ()); err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	return nil
}

// runOutput runs a command inside a cluster's network and returns its output.
func runOutput(c *Cluster, command *exec.Cmd) (string, error) {
	var output strings.Builder
	command.Stdout, command.Stderr = &output, &output
	err := runInNetns(c, command)
	return output.String(), err
}
