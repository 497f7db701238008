#!/usr/bin/env bash
# Makes sure that Chromium and Firefox are there for the browser tests.
set -euo pipefail
have() { type -P "$1" >/dev/null; } # command -v would find the functions below
chromium() { have "${CHROMIUM:-chromium}" || have chromium-browser || have google-chrome; }
firefox() { have "${FIREFOX:-firefox-esr}" || have firefox; }
if chromium && firefox; then exit 0; fi
if ! have apt-get || [ "$(id -u)" != 0 ]; then
  echo "the browser tests need Chromium and Firefox: install them, or say where they are with CHROMIUM=... FIREFOX=..." >&2
  exit 1
fi
echo "installing Chromium and Firefox (about a minute)" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium firefox-esr fonts-dejavu-core >/dev/null
