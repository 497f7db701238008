#!/usr/bin/env bash
# Checks the chart's alerts and the dashboard's expressions with Prometheus' own promtool, and
# runs the alerts' unit tests. Building promtool takes minutes the first time.
set -euo pipefail
cd "$(dirname "$0")/prometheus"
files=../../charts/voiceroom/files/monitoring
promtool() { go tool promtool "$@"; }
export GOFLAGS=-tags=remove_all_sd # no clients of clouds
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go run . $files/dashboard.json > "$work/dashboard.yaml"
promtool check rules $files/rules.yaml "$work/dashboard.yaml"
promtool test rules rules_test.yaml
