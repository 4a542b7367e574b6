#!/usr/bin/env bash
# Makes the secrets of compose.yml in secrets/, those that are not there yet; and a certificate for trying, which browsers do
# not believe: put your own in secrets/tls/.
set -euo pipefail
cd "$(dirname "$0")"
umask 022
mkdir -p secrets/tls
if [ -f .env ]; then
  set -a
  . ./.env
  set +a
fi
host=${PUBLIC_HOST:-localhost}
random() { head -c 32 /dev/urandom | base64 | tr -d '+/=\n'; }
[ -s secrets/admin_key ] || printf 'wp_admin_%s' "$(random)" > secrets/admin_key
[ -s secrets/cluster_secret ] || random > secrets/cluster_secret
[ -s secrets/grafana_password ] || random > secrets/grafana_password
if [ ! -s secrets/tls/key.pem ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj "/CN=$host" \
    -addext "subjectAltName=DNS:$host" -keyout secrets/tls/key.pem -out secrets/tls/certificate.pem 2>/dev/null
fi
# Containers read them as a user of their own; keep others away by the directory.
chmod 0700 secrets
chmod 0644 secrets/admin_key secrets/cluster_secret secrets/grafana_password secrets/tls/key.pem
echo "secrets/ is complete; the admin key is in secrets/admin_key"
