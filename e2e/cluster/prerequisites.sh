#!/bin/sh
# Install what the local cluster takes from the distribution (the container
# runtime, the CNI plugins, the tools for networks; all else is in the
# shoalcluster binary) and the servers that the tests and the shop measure.
# Nothing is done when nothing is missing.
set -eu

PATH=$PATH:/usr/sbin:/sbin
missing=

# need PACKAGE PROGRAM: the package is missing if the program is.
need() {
	command -v "$2" >/dev/null 2>&1 || missing="$missing $1"
}

need containerd containerd
need runc runc
need iproute2 ip
need iptables iptables
need conntrack conntrack
need nginx-light nginx
need nodejs node
need default-jdk-headless javac
[ -x /usr/bin/python3 ] || missing="$missing python3"
found=
for folder in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
	[ ! -x "$folder/ptp" ] || found=yes
done
[ -n "$found" ] || missing="$missing containernetworking-plugins"

if [ -z "$missing" ]; then
	exit 0
fi

by_hand() {
	echo "prerequisites.sh: $1." >&2
	echo "Install by hand what these Debian packages hold:$missing" >&2
	exit 1
}
command -v apt-get >/dev/null 2>&1 || by_hand "this is not a Debian system (there is no apt-get)"
[ "$(id -u)" = 0 ] || by_hand "installing packages needs root"

echo "prerequisites.sh: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# Another apt may be at work: wait for it rather than fail.
set -- -o DPkg::Lock::Timeout=300 -q -y
apt-get "$@" update
# The services that packages bring are of no use here: the cluster starts a
# containerd of its own. This tells Debian not to start any.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
fi
# shellcheck disable=SC2086 # A list of words.
apt-get "$@" install --no-install-recommends $missing
