#!/usr/bin/env bash
# Installs what `make deploy-check` and `make smoke` check the files here with: Debian's nginx, Caddy, Prometheus, systemd, kubectl and podman, and
# validators and a plotter in target/deploy-tools. Needs root for the former; does nothing where all is there.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx)
command -v caddy >/dev/null || missing+=(caddy)
command -v promtool >/dev/null || missing+=(prometheus)
command -v systemd-analyze >/dev/null || missing+=(systemd)
command -v kubectl >/dev/null || missing+=(kubernetes-client)
command -v openssl >/dev/null || missing+=(openssl)
# Only `podman-compose config` is used, which asks it for its version.
command -v podman >/dev/null || missing+=(podman)
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}"
  apt-get update -qq
  # Only the programs: nothing is started.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
tools=target/deploy-tools
if ! cmp -s deploy/requirements.txt "$tools/requirements.txt"; then
  rm -rf "$tools"
  mkdir -p target
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check --requirement deploy/requirements.txt
  cp deploy/requirements.txt "$tools/requirements.txt"
fi
