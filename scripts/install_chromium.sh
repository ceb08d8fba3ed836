#!/bin/sh
# Installs the Chromium that the tests of the page drive, on Debian and Ubuntu. Safe to run twice.
set -eu

if command -v chromium >/dev/null; then
    echo "chromium is installed: $(chromium --version 2>/dev/null)"
    exit 0
fi

SUDO=""
[ "$(id -u)" -eq 0 ] || SUDO="sudo"
export DEBIAN_FRONTEND=noninteractive
$SUDO apt-get update -q
$SUDO apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core
chromium --version
