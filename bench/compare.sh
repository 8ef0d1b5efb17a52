#!/usr/bin/env bash
# The Go benchmarks of the parts, at two commits, side by side by benchstat:
#
#   bench/compare.sh                          # the last commit and the one before
#   bench/compare.sh main                     # main and the last commit
#   bench/compare.sh v1.0 v1.1                # any two
#   COUNT=5 BENCH=Walker PACKAGES=./rewrite bench/compare.sh main
#
# The commits take turns, so that a machine that slows down slows both. A change
# that is not committed is not measured.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

old=${1:-HEAD~1}
new=${2:-HEAD}
count=${COUNT:-10}
bench=${BENCH:-.}
time=${BENCHTIME:-0.5s}
read -ra packages <<<"${PACKAGES:-./internal/wire ./internal/relay ./internal/inflight ./rewrite ./proxy}"

dir=$(mktemp -d)
cleanup() {
	git -C "$root" worktree remove --force "$dir/old" 2>/dev/null || true
	git -C "$root" worktree remove --force "$dir/new" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT

for side in old new; do
	git worktree add --quiet --detach "$dir/$side" "${!side}^{commit}"
done
for ((i = 1; i <= count; i++)); do
	for side in old new; do
		echo "round $i of $count: $side, ${!side}" >&2
		(cd "$dir/$side" && go test -run '^$' -bench "$bench" -benchtime "$time" -count 1 "${packages[@]}") >>"$dir/$side.txt"
	done
done
cd "$dir"
go run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da "old=old.txt" "new=new.txt"
