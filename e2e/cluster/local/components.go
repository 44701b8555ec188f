package local

// How each component is started. Paths are those inside the node.

const (
	pki  = nodeRoot + "/pki"
	conf = nodeRoot + "/conf"
)

func etcdCommand() []string {
	return []string{nodeBin + "/etcd",
		"--name=" + nodeName,
		"--data-dir=/var/lib/etcd",
		"--listen-client-urls=http://127.0.0.1:2379",
		"--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=" + nodeName + "=http://127.0.0.1:2380",
		// The data are thrown away after a crash, so nothing has to be durable.
		"--unsafe-no-fsync",
		// The only member need not wait a second to elect itself.
		"--heartbeat-interval=20", "--election-timeout=200",
		"--log-level=warn",
	}
}

func containerdCommand() []string {
	return []string{"containerd", "--config=" + conf + "/containerd.toml"}
}

func apiServerCommand() []string {
	return []string{nodeBin + "/kube-apiserver",
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0", "--secure-port=6443",
		// What the Service "kubernetes" leads to: pods reach the node's address.
		"--advertise-address=" + nodeAddress,
		"--tls-cert-file=" + pki + "/apiserver.crt",
		"--tls-private-key-file=" + pki + "/apiserver.key",
		"--client-ca-file=" + pki + "/ca.crt",
		"--kubelet-client-certificate=" + pki + "/admin.crt",
		"--kubelet-client-key=" + pki + "/admin.key",
		"--kubelet-certificate-authority=" + pki + "/ca.crt",
		// The kubelet's certificate names the address; nothing resolves the name.
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + pki + "/service-account.key",
		"--service-account-signing-key-file=" + pki + "/service-account.key",
		// What extension API servers check requests by that come through this one.
		"--requestheader-client-ca-file=" + pki + "/ca.crt",
		"--requestheader-allowed-names=" + frontProxyUser,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + pki + "/front-proxy.crt",
		"--proxy-client-key-file=" + pki + "/front-proxy.key",
		"--service-cluster-ip-range=" + serviceCIDR,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged",
	}
}

func controllerManagerCommand() []string {
	return []string{nodeBin + "/kube-controller-manager",
		"--kubeconfig=" + conf + "/controller-manager.kubeconfig",
		"--authentication-kubeconfig=" + conf + "/controller-manager.kubeconfig",
		"--authorization-kubeconfig=" + conf + "/controller-manager.kubeconfig",
		"--service-account-private-key-file=" + pki + "/service-account.key",
		"--root-ca-file=" + pki + "/ca.crt",
		"--cluster-signing-cert-file=" + pki + "/ca.crt",
		"--cluster-signing-key-file=" + pki + "/ca.key",
		"--use-service-account-credentials",
		// Its dozens of controllers start at once, each with an account of its own:
		// the usual 20 requests a second would make that take seconds.
		"--kube-api-qps=500", "--kube-api-burst=1000",
		"--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins",
		"--leader-elect=false",
	}
}

func schedulerCommand() []string {
	return []string{nodeBin + "/kube-scheduler",
		"--kubeconfig=" + conf + "/scheduler.kubeconfig",
		"--authentication-kubeconfig=" + conf + "/scheduler.kubeconfig",
		"--authorization-kubeconfig=" + conf + "/scheduler.kubeconfig",
		"--leader-elect=false",
	}
}

func kubeletCommand() []string {
	return []string{nodeBin + "/kubelet",
		"--config=" + conf + "/kubelet.yaml",
		"--kubeconfig=" + conf + "/kubelet.kubeconfig",
		"--hostname-override=" + nodeName,
		"--node-ip=" + nodeAddress,
	}
}

func proxyCommand() []string {
	return []string{nodeBin + "/kube-proxy", "--config=" + conf + "/kube-proxy.yaml"}
}

func coreDNSCommand() []string {
	return []string{nodeBin + "/coredns", "-conf", conf + "/Corefile"}
}
