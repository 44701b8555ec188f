// Package local runs the Kubernetes of this module on one Linux machine, in a
// network namespace and a mount namespace of its own.
//
// It starts the components by their names and talks to the API over plain
// HTTPS: it imports nothing of Kubernetes, so it compiles and is tested fast.
package local

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

const usage = `shoalcluster: a whole Kubernetes on this machine, and nothing of the machine touched.

  shoalcluster up     --dir DIR [--timeout 2m] [--pause FILE]
                                               start a single-node cluster; ready when it returns
  shoalcluster down   --dir DIR                stop it and leave nothing behind, DIR included
  shoalcluster status --dir DIR                say what runs; exit code 0 when all of it does
  shoalcluster run    --dir DIR -- CMD ARG...  run CMD inside the cluster's network, with kubectl set up
  shoalcluster image  (--out FILE.tar | --dir DIR) --name NAME --entrypoint '["/x"]' SRC:DEST...
                                               make an image without Docker; with --dir, load it as well
  shoalcluster load   --dir DIR FILE.tar...    load image archives into the cluster

Also in this binary, by the first argument or by the name of a link to it: kubectl, helm, etcd,
kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy, coredns.

DIR may come from $SHOALCLUSTER_DIR. 'shoalcluster COMMAND -h' lists the flags of a command.
`

var commands = map[string]func(args []string) error{
	"up":     upCommand,
	"down":   downCommand,
	"status": statusCommand,
	"run":    runCommand,
	"image":  imageCommand,
	"load":   loadCommand,
	// What "up" and "status" start of themselves inside the namespaces.
	nodeCommandName:  nodeCommand,
	probeCommandName: probeCommand,
}

// exitError carries an exit code whose cause has been told already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Main runs one sub-command and returns the exit code of the process.
func Main(args []string) int {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Print(usage)
		return 0
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(os.Stderr, "shoalcluster: there is no command %q\n\n%s", args[0], usage)
		return 2
	}
	err := command(args[1:])
	var code exitError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(os.Stderr, "shoalcluster %s: %v\n", args[0], err)
	return 1
}

// flags returns a flag set with --dir, which every command has.
func flags(command string) (*flag.FlagSet, *string) {
	set := flag.NewFlagSet("shoalcluster "+command, flag.ContinueOnError)
	dir := set.String("dir", os.Getenv("SHOALCLUSTER_DIR"), "`folder` that holds the cluster's state")
	return set, dir
}

// parseCluster parses the flags of a command that works on one cluster.
func parseCluster(set *flag.FlagSet, dir *string, args []string) (*Cluster, error) {
	if err := parse(set, args); err != nil {
		return nil, err
	}
	if *dir == "" {
		return nil, errors.New("name the cluster's folder with --dir DIR (or $SHOALCLUSTER_DIR)")
	}
	return NewCluster(*dir)
}

// parse parses flags; the flag package has told of a mistake by then.
func parse(set *flag.FlagSet, args []string) error {
	err := set.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return exitError(2)
	}
	return err
}

// progress writes one line with the time since the start of "up".
type progress struct{ since time.Time }

func (p progress) printf(format string, values ...any) {
	line := strings.TrimRight(fmt.Sprintf(format, values...), "\n")
	fmt.Fprintf(os.Stderr, "[%5.1fs] %s\n", time.Since(p.since).Seconds(), line)
}
