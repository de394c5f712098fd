#!/usr/bin/env bash
# fuzz.sh BUILD NAME [FLAG…]: runs one fuzzing program from its corpus and says in one line what came of it.
#
# BUILD is a build tree with the fuzzing programs; the flags are libFuzzer's (-runs=N, -max_total_time=SECONDS,
# -seed=N). New inputs stay in BUILD/found/NAME, from where `./run fuzz-merge` takes what adds coverage; an input
# that crashes the program is kept there too, as crash-…, and named.
set -euo pipefail
build=$1 name=$2
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
found=$build/found/$name
mkdir -p "$found"

case $name in
snapshot | settings) max_len=1024 ;;
raft_actor | storage) max_len=192 ;; # the slow ones: short inputs, more of them
*) max_len=384 ;;
esac
flags=(-max_len="$max_len" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$found/")
[ ! -e "$here/$name.dict" ] || flags+=(-dict="$here/$name.dict")

# Short call stacks and a small quarantine double the speed; a crash is looked at again with the defaults.
export ASAN_OPTIONS=malloc_context_size=0:quarantine_size_mb=4:detect_stack_use_after_return=0
export UBSAN_OPTIONS=print_stacktrace=1
log=$found.log
begin=$SECONDS
status=0
"$build/tests/fuzz/fuzz_$name" "${flags[@]}" "$@" "$found" "$here/corpus/$name" >"$log" 2>&1 || status=$?
if [ "$status" -ne 0 ]; then
    grep -av 'NEW_FUNC\|REDUCE\|NEW  ' "$log" | tail -60
    echo "fuzz_$name: FAILED (log: $log)"
    exit 1
fi
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
coverage=$(grep -aoE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -1 | sed 's/cov: \([0-9]*\) ft: \([0-9]*\)/\1 edges, \2 features/')
seconds=$((SECONDS - begin))
echo "fuzz_$name: $runs executions in $seconds s ($((runs / (seconds > 0 ? seconds : 1))) a second), $coverage, no crash"
