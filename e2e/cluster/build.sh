#!/bin/sh
# Build the cluster tool and the OpenTelemetry Collector into a folder:
#   e2e/cluster/build.sh FOLDER [shoalcluster|otelcol]...
# The first build compiles all of Kubernetes, 8 to 10 minutes on two cores;
# after that Go's build cache makes it seconds.
set -eu
[ $# -ge 1 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")"
export CGO_ENABLED=0

shoalcluster() {
	# Kubernetes and Helm learn their versions from the linker. Without this the
	# node calls itself v0.0.0-master, which charts with a kubeVersion refuse.
	version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
	minor=${version#v1.}
	minor=${minor%%.*}
	flags="-s -w"
	for name in gitVersion="$version" gitMajor=1 gitMinor="$minor"; do
		flags="$flags -X k8s.io/component-base/version.$name"
	done
	helm=helm.sh/helm/v4
	for name in "$helm/pkg/chart/common.k8sVersion" "$helm/pkg/chart/v2/lint/rules.k8sVersion" \
		"$helm/internal/version.kubeClientVersion"; do
		flags="$flags -X ${name}Major=1 -X ${name}Minor=$minor"
	done
	flags="$flags -X $helm/internal/version.version=$(go list -m -f '{{.Version}}' $helm)"
	go build -ldflags "$flags" -o "$out/shoalcluster" .
	go build -ldflags '-s -w' -o "$out/shoalcluster-pause" ./pause
}

otelcol() {
	(cd collector && go build -ldflags '-s -w' -o "$out/otelcol" .)
}

[ $# -ge 1 ] || set -- shoalcluster otelcol
for part; do
	case $part in
	shoalcluster | otelcol) "$part" ;;
	*) echo "build.sh: there is no part $part" >&2; exit 2 ;;
	esac
done
