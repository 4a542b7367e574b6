#!/usr/bin/env bash
# Makes the secrets of compose.yml in secrets/, and .env from .env.example: those that are not there yet. And a certificate for trying,
# which browsers do not believe: put your own in secrets/tls/.
#
# Nobody else can read them, also while they are made: files are made 0600, in a directory of 0700.
set -euo pipefail
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
chmod 0700 secrets
mkdir -p secrets/tls
[ -e .env ] || cp .env.example .env
chmod 0600 .env
set -a
. ./.env
set +a
host=${PUBLIC_HOST:-localhost}

# A file is there whole or not at all, so that a run that was interrupted leaves no half of a key.
keep() { cat > "secrets/$1.part" && mv "secrets/$1.part" "secrets/$1"; }
random() { head -c 32 /dev/urandom | base64 | tr -d '+/=\n'; }
[ -s secrets/admin_key ] || printf 'wp_admin_%s' "$(random)" | keep admin_key
[ -s secrets/cluster_secret ] || random | keep cluster_secret
[ -s secrets/grafana_password ] || random | keep grafana_password
if [ ! -s secrets/tls/key.pem ]; then
  case $host in
    *[!0-9.]*) name=DNS:$host ;;
    *) name=IP:$host ;;
  esac
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj "/CN=$host" \
    -addext "subjectAltName=$name" -keyout secrets/tls/key.pem.part -out secrets/tls/certificate.pem 2>/dev/null
  mv secrets/tls/key.pem.part secrets/tls/key.pem
fi

# A container sees these files with their owner and mode, and reads them as an account of its own: 10001 the nodes, 472 Grafana. Root can
# give them to those; whoever is not root can only let everybody read them who gets at them, which behind a directory of 0700 is the
# containers.
if [ "$(id -u)" = 0 ]; then
  chown 10001 secrets/admin_key secrets/cluster_secret
  chown 472 secrets/grafana_password
else
  chmod 0444 secrets/admin_key secrets/cluster_secret secrets/grafana_password
fi
echo "secrets/ is complete; the admin key is in secrets/admin_key"
