#!/usr/bin/env bash
# Builds the eBPF object that the node worker embeds: node-ebpf/prebuilt/shoalwatch.bpf.o, and the hash of its sources
# beside it. `make ebpf` calls it. Only needed after an edit of node-ebpf/: everybody else uses the committed object.
#
# It needs a nightly Rust (core is compiled for the BPF target, which is unstable) with `rust-src`, and bpf-linker. What is
# missing is fetched: from rustup and crates.io, else, where rustup has no rust-src, from Debian.
set -euo pipefail
cd "$(dirname "$0")"

toolchain=${EBPF_TOOLCHAIN:-nightly}
tools=$PWD/../target/ebpf
sysroot=$(rustc "+$toolchain" --print sysroot)
library=$sysroot/lib/rustlib/src/rust/library
linker_version=0.13.0

say() { echo "ebpf: $*" >&2; }

# Debian's rust-src of the same minor version stands in where rustup cannot give one. The mirror is the machine's own.
rust_src_from_debian() {
    local work=$tools/debian minor site package
    minor=$(rustc "+$toolchain" --version | cut -d' ' -f2 | cut -d. -f1,2)
    site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' | head -n1)
    [ -n "$site" ] || { say "no rust-src from rustup and no Debian mirror: run 'rustup component add rust-src --toolchain $toolchain'"; exit 1; }
    rm -rf "$work" && mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site sid main" >"$work/sid.list"
    local options=(-qq -o "Dir::Etc::sourcelist=$work/sid.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o "APT::Sandbox::User=$(id -un)")
    apt-get "${options[@]}" update
    package=$(apt-cache "${options[@]}" madison rust-src | cut -d'|' -f2 | tr -d ' ' | grep "^${minor//./\\.}\." | head -n1) ||
        { say "Debian sid has no rust-src $minor: use a toolchain that rustup has rust-src for (EBPF_TOOLCHAIN=…)"; exit 1; }
    (cd "$work" && apt-get "${options[@]}" download "rust-src=$package" && dpkg-deb -x rust-src_*.deb root)
    mkdir -p "$(dirname "$library")"
    cp -rL "$work"/root/usr/src/rustc-*/library "$library"
    rm -rf "$work"
}

ensure_rust_src() {
    [ -e "$library/core/src/lib.rs" ] && return
    say "fetching rust-src for $toolchain"
    timeout 60 rustup component add rust-src --toolchain "$toolchain" && [ -e "$library/core/src/lib.rs" ] && return
    say "rustup has no rust-src for $toolchain, trying Debian's"
    rust_src_from_debian
}

# bpf-linker reads the bitcode that this rustc writes, so it must use this rustc's LLVM: it is built against that very library.
ensure_linker() {
    command -v bpf-linker >/dev/null && return
    export PATH=$tools/bin:$PATH
    command -v bpf-linker >/dev/null && return
    local llvm
    llvm=$(rustc "+$toolchain" -vV | sed -n 's/^LLVM version: \([0-9]*\)\..*/\1/p')
    say "building bpf-linker $linker_version against $toolchain's LLVM $llvm"
    mkdir -p "$tools/llvm/lib"
    ln -sf "$(find "$sysroot/lib" -maxdepth 1 -name 'libLLVM.so.*' | head -n1)" "$tools/llvm/lib/libLLVM.so"
    LLVM_PREFIX=$tools/llvm RUSTFLAGS="-C link-arg=-Wl,-rpath,$sysroot/lib" \
        cargo "+$toolchain" install --quiet --locked bpf-linker --version "$linker_version" --root "$tools" \
        --no-default-features --features "llvm-$llvm"
}

# The rule that a test of the worker's loader repeats: every source and manifest, in C order, as "sha256sum" prints them.
hash_sources() {
    find Cargo.toml src common/Cargo.toml common/src -type f \( -name '*.rs' -o -name Cargo.toml \) -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
}

# The object names its sources in BTF. Without this machine's folders in them, two machines build the same bytes.
remapped_paths() {
    local registry
    for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
        echo "--remap-path-prefix=${registry%/}=crates"
    done
    echo "--remap-path-prefix=$sysroot/lib/rustlib/src/rust=rust" "--remap-path-prefix=$(cd .. && pwd)=shoalwatch"
}

ensure_rust_src
ensure_linker
say "building for bpfel-unknown-none"
# v3: jumps and arithmetic on 32 bits, which every kernel since 5.1 knows.
CARGO_TARGET_DIR=$tools/build \
    CARGO_TARGET_BPFEL_UNKNOWN_NONE_RUSTFLAGS="-C debuginfo=2 -C target-cpu=v3 -C link-arg=--btf $(remapped_paths | xargs)" \
    cargo "+$toolchain" build --quiet --release -Z build-std=core --target bpfel-unknown-none -p shoalwatch-node-ebpf --bin shoalwatch
mkdir -p prebuilt
# BTF stays: the kernel's tools show names and lines from it. DWARF is nine tenths of the file and nobody reads it.
LD_LIBRARY_PATH=$sysroot/lib "$sysroot"/lib/rustlib/*/bin/rust-objcopy --strip-debug \
    "$tools/build/bpfel-unknown-none/release/shoalwatch" prebuilt/shoalwatch.bpf.o
hash_sources >prebuilt/SOURCES.sha256
say "prebuilt/shoalwatch.bpf.o: $(stat -c %s prebuilt/shoalwatch.bpf.o) bytes, sources $(cut -c1-12 prebuilt/SOURCES.sha256)"
