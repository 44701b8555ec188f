// Command shoalcluster is a whole Kubernetes in one binary, together with the
// tool that runs it on one Linux machine.
//
// The component to be is named by argv[0] (a link called "kubectl", say) or by
// the first argument. Every name that is not a component is a sub-command of
// the tool itself, which lives in package local: that package does not import
// Kubernetes, so it builds and is tested in seconds.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	"go.etcd.io/etcd/server/v3/etcdmain"
	helm "helm.sh/helm/v4/pkg/cmd"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"shoalwatch.dev/e2e/cluster/local"
)

// components maps the name of a component to its main function, which returns
// the exit code. Each one reads os.Args for itself.
var components = map[string]func() int{
	"etcd":    func() int { etcdmain.Main(os.Args); return 0 },
	"coredns": func() int { coremain.Run(); return 0 },
	"kube-apiserver": func() int {
		return cli.Run(apiserver.NewAPIServerCommand())
	},
	"kube-controller-manager": func() int {
		return cli.Run(controllermanager.NewControllerManagerCommand())
	},
	"kube-scheduler": func() int {
		return cli.Run(scheduler.NewSchedulerCommand())
	},
	// The kubelet is the one that wants a context, and installs its own signal
	// handlers: another SetupSignalContext here would make it panic.
	"kubelet": func() int {
		return cli.Run(kubelet.NewKubeletCommand(context.Background()))
	},
	"kube-proxy": func() int {
		return cli.Run(proxy.NewProxyCommand())
	},
	"helm": func() int {
		command, err := helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging)
		if err != nil {
			fmt.Fprintln(os.Stderr, "helm:", err)
			return 1
		}
		var failure helm.CommandError
		switch err := command.Execute(); {
		case errors.As(err, &failure):
			return failure.ExitCode
		case err != nil:
			return 1
		}
		return 0
	},
	"kubectl": func() int {
		return cli.Run(cmd.NewDefaultKubectlCommand())
	},
}

func main() {
	if run, ok := components[filepath.Base(os.Args[0])]; ok {
		os.Exit(run())
	}
	if len(os.Args) > 1 {
		if run, ok := components[os.Args[1]]; ok {
			os.Args = os.Args[1:]
			os.Exit(run())
		}
	}
	os.Exit(local.Main(os.Args[1:]))
}
