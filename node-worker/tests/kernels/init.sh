#!/bin/sh
# The first and only process of a machine that runs the kernel tier: mounts what the loader reads, runs, says how it went.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tracefs tracefs /sys/kernel/tracing
ip link set lo up
cat /proc/version

# The DaemonSet's, and what Linux 5.10 asks besides: there maps are locked memory.
rights=+bpf,+perfmon,+sys_ptrace,+dac_read_search
case $(cat /proc/sys/kernel/osrelease) in 5.10.*) rights=$rights,+sys_resource ;; esac

# As the DaemonSet's container. The folder "few" lacks the programs that make namespaces: their tests skip themselves.
in_pod() { PATH=/few /bin/setpriv --bounding-set "-all,$rights" --inh-caps=-all /bin/kernel_loader --test-threads=1 --nocapture "$@"; }

# Debian keeps perf events to CAP_SYS_ADMIN, so a few tests go without; then all are run with them, as the README advises. Tests of
# namespaces run as root afterwards.
in_pod pairing::every_pair &&
    echo 2 >/proc/sys/kernel/perf_event_paranoid &&
    in_pod &&
    kernel_loader --test-threads=1 --nocapture namespaces:: &&
    echo "kernel_loader: ok"
reboot -f
