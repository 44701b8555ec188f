#!/usr/bin/env bash
# Runs every fuzz target under libFuzzer for FUZZ_SECONDS (default 600) each, FUZZ_JOBS (default: one for each core) at a time,
# or those that are named. `make fuzz` calls it.
#
# The stable toolchain does: libFuzzer is built from its crate, and LLVM's coverage counters need no unstable flag. The code
# under test forbids unsafe code, so that there is nothing for a sanitiser to find; panics and overflows end a run by themselves.
# What a run learns is kept in target/fuzz/corpus; `fuzz/run.sh --merge` brings what is new and small into the checked-in corpora.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${FUZZ_SECONDS:-600}
out=$(cd ../../.. && pwd)/target/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
# Larger inputs reach nothing that these do not, and slow everything down.
max_len=2048

say() { echo "fuzz: $*" >&2; }

ensure_compiler() {
    command -v c++ >/dev/null && return
    say "libFuzzer needs a C++ compiler: installing g++"
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        say "install a C++ compiler by hand, then run this again"
        exit 1
    fi
    apt-get -o DPkg::Lock::Timeout=300 -qq -y update
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq -y install --no-install-recommends g++
}

# As cargo-fuzz does it, without a sanitiser. With --target the flags reach no build script.
build() {
    RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares" \
        cargo build --quiet --target "$host" --target-dir "$out/build" --bins
}

program() { echo "$out/build/$host/debug/$1"; }

# One line for each target; the log stays, and a finding's bytes with it.
run() {
    local name=$1 log=$out/$1.log
    mkdir -p "$out/corpus/$name" "$out/found"
    if ! "$(program "$name")" -max_total_time="$seconds" -max_len="$max_len" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$out/found/$name-" "$out/corpus/$name" "corpus/$name" >"$log" 2>&1; then
        say "$name: FOUND something, see $log and $out/found"
        return 1
    fi
    say "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions, nothing found," \
        "$(grep -o 'cov: [0-9]* ft: [0-9]*' "$log" | tail -n1)"
}

# One file for each branch that no other reaches, and only what a reader can still look at.
merge() {
    local name=$1 small=$out/small/$1
    rm -rf "$small" && mkdir -p "$small"
    find "$out/corpus/$name" -type f -size -257c -exec cp -t "$small" {} +
    "$(program "$name")" -set_cover_merge=1 -use_counters=0 -max_len="$max_len" "corpus/$name" "$small" >"$out/$name.merge.log" 2>&1
    say "$name: $(find "corpus/$name" -type f | wc -l) files"
}

action=run
if [ "${1:-}" = --merge ]; then
    action=merge
    shift
fi
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(basename -s .rs fuzz_targets/*.rs)

ensure_compiler
say "building"
build
export -f say program run merge
export seconds out host max_len
printf '%s\n' "${targets[@]}" | xargs -P "${FUZZ_JOBS:-$(nproc)}" -I{} bash -euo pipefail -c "$action {}"
