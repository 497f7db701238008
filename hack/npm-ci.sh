#!/usr/bin/env bash
# Installs the npm packages of a folder, once for each state of its lock file.
set -euo pipefail
cd "$1"
stamp=node_modules/.installed-$(sha256sum package-lock.json | cut -c1-16)
[ -e "$stamp" ] && exit 0
echo "installing the npm packages of $1" >&2
npm ci --no-audit --no-fund --silent
touch "$stamp"
