#!/usr/bin/env bash
# Runs every fuzz target for a while each. Little of it goes to making inputs smaller: where several goroutines work, what
# an input reaches is not the same each time, and a minute would be spent on every one.
set -euo pipefail
tags=()
if pkg-config --exists opus 2>/dev/null; then # the codec of the mix is fuzzed too
  tags=(-tags libopus,nolibopusfile)
fi
for dir in $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do
  for target in $(grep -rhoE '^func Fuzz[A-Za-z0-9]*' "$dir"/*_test.go | cut -d' ' -f2); do
    echo "== $dir $target"
    go test "${tags[@]}" -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 10x "$dir"
  done
done
