#!/usr/bin/env bash
# Runs the kernel tier on other kernels: Debian's cloud kernels of the suites named (default: bullseye bookworm trixie forky), each booted
# by QEMU without KVM into an initramfs that holds busybox and the test binary. `make kernels` calls it.
#
# A test that needs a server, or Python, skips itself there. Each kernel runs twice: first under the rights that the DaemonSet gives,
# then, for the tests that make namespaces, under all of root's.
# Kernels are kept in target/kernels; remove a suite's folder to fetch its newest kernel.
set -euo pipefail
cd "$(dirname "$0")/../../.."

suites=("$@")
[ $# -gt 0 ] || suites=(bullseye bookworm trixie forky)
out=$PWD/target/kernels
# Healthy runs took two minutes (5.10) to six (7.2).
seconds=${KERNEL_SECONDS:-1800}

say() { echo "kernels: $*" >&2; }

ensure_tools() {
    local missing=()
    command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
    command -v busybox >/dev/null || missing+=(busybox)
    command -v cpio >/dev/null || missing+=(cpio)
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        say "install what these Debian packages hold by hand, then run this again"
        exit 1
    fi
    apt-get -o DPkg::Lock::Timeout=300 -qq -y update
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -y install --no-install-recommends "${missing[@]}"
}

# The suite's newest kernel, unpacked. The mirror is the machine's own, its package lists stay untouched.
fetch() {
    local work=$out/$1.part site name
    [ ! -d "$out/$1" ] || return 0
    say "fetching the kernel of $1"
    site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' | head -n1)
    [ -n "$site" ] || { say "no Debian mirror in apt's settings to fetch kernels from"; exit 1; }
    rm -rf "$work" && mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $1 main" >"$work/suite.list"
    local options=(-qq -o "Dir::Etc::sourcelist=$work/suite.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o "APT::Sandbox::User=$(id -un)")
    apt-get "${options[@]}" update
    name=$(apt-cache "${options[@]}" depends linux-image-cloud-amd64 | sed -n 's/.*Depends: linux-image-\([0-9].*\)/\1/p' | head -n1)
    # In newer suites the kernel itself is a package of its own.
    (cd "$work" && { apt-get "${options[@]}" download "linux-binary-$name" 2>/dev/null ||
        apt-get "${options[@]}" download "linux-image-$name"; })
    dpkg-deb -x "$work"/linux-*.deb "$work/root"
    mkdir "$work/done"
    find "$work/root" -name 'vmlinuz*' -exec mv {} "$work/done/vmlinuz" \;
    mv "$work/done" "$out/$1" && rm -rf "$work"
}

test_binary() {
    cargo test --quiet -p shoalwatch-node-worker --test kernel_loader --no-run --message-format json |
        sed -n 's/.*"executable":"\([^"]*kernel_loader-[^"]*\)".*/\1/p'
}

# The init program's file system: busybox, the test binary, the two programs that tests call, and what these are linked with.
make_initramfs() {
    local root=$out/root file programs
    rm -rf "$root" && mkdir -p "$root"/{bin,few,dev,proc,sys,tmp}
    objcopy --strip-debug "$(test_binary)" "$root/bin/kernel_loader"
    programs=("$root/bin/kernel_loader" "$(command -v busybox)" "$(command -v unshare)" "$(command -v setpriv)")
    cp -L "${programs[@]:1}" "$root/bin/"
    for file in sh mount umount ip reboot sleep cat; do ln -s busybox "$root/bin/$file"; done
    ln -s ../bin/busybox "$root/few/sleep"
    { ldd "${programs[@]}" 2>/dev/null || true; } | sed -n 's/^[^/]*\(\/[^ :]*\) (0x.*/\1/p' | sort -u | while read -r file; do
        mkdir -p "$root$(dirname "$file")" && cp -L "$file" "$root$file"
    done
    install -m 755 node-worker/tests/kernels/init.sh "$root/init"
    (cd "$root" && find . | cpio --quiet -o -H newc) >"$out/initramfs"
}

# Nothing comes back but the console: the last line says how it ended.
boot() {
    local log=$out/$1.log
    timeout "$seconds" qemu-system-x86_64 -cpu qemu64 -smp 1 -m 1024 -nographic -no-reboot -net none \
        -kernel "$out/$1/vmlinuz" -initrd "$out/initramfs" -append "console=ttyS0 panic=-1 quiet no_timer_check rdinit=/init" \
        </dev/null >"$log" 2>&1 || true
    grep -aoE 'Linux version [^ ]*|test result: .*|skipped: needs .*|^thread .* panicked at .*' "$log" | tr -d '\r' | uniq
    grep -aq '^kernel_loader: ok' "$log" || { say "$1: failed, see $log"; return 1; }
}

ensure_tools
mkdir -p "$out"
for suite in "${suites[@]}"; do fetch "$suite"; done
make_initramfs
failed=0
for suite in "${suites[@]}"; do boot "$suite" || failed=1; done
exit $failed
