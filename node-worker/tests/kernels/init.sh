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

# The folder "few" lacks the programs that make namespaces, so that their tests skip themselves; those run
# as root afterwards, and mount tracefs themselves.
PATH=/few /bin/setpriv --bounding-set "-all,$rights" --inh-caps=-all /bin/kernel_loader --test-threads=1 --nocapture &&
    umount /sys/kernel/tracing &&
    kernel_loader --test-threads=1 --nocapture namespaces:: lifecycle::a_new_thread_is_no_new_process &&
    echo "kernel_loader: ok"
reboot -f
