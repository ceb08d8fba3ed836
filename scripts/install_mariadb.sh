#!/bin/sh
# Installs the MariaDB server that the integration tests start privately, on Debian and Ubuntu. Safe to run twice.
set -eu

PATH="$PATH:/usr/sbin:/usr/local/sbin" # mariadbd lies where only root looks
if command -v mariadbd >/dev/null; then
    echo "mariadbd is installed: $(mariadbd --version)"
    exit 0
fi

SUDO=""
[ "$(id -u)" -eq 0 ] || SUDO="sudo"
export DEBIAN_FRONTEND=noninteractive
$SUDO apt-get update -q
$SUDO apt-get install -q -y --no-install-recommends mariadb-server
mariadbd --version
