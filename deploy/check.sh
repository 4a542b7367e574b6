#!/usr/bin/env bash
# Checks every file of deploy/ and .github/ with the tool that reads it: `make deploy-check`. Nothing is started.
set -euo pipefail
cd "$(dirname "$0")/.."
waypost=${1:?give the waypost binary}
bash deploy/tools.sh
bin=$PWD/target/deploy-tools/bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PATH="$PATH:/usr/sbin:/sbin"

echo "== cluster.toml of every deployment: waypost config check"
head -c 32 /dev/urandom | base64 > "$work/secret"
for file in deploy/compose/cluster.toml deploy/compose/services.toml deploy/kubernetes/base/cluster.toml deploy/local/cluster.toml; do
  for node in $(sed -n 's/^name = "\(.*\)"/\1/p' "$file" | tail -n +2); do
    WAYPOST_CLUSTER_SECRET_FILE="$work/secret" "$waypost" config check --config "$file" --node "$node" >/dev/null
  done
done

echo "== nginx -t"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost \
  -keyout "$work/key.pem" -out "$work/certificate.pem" 2>/dev/null
python3 deploy/render.py deploy/nginx/templates/default.conf.template > "$work/waypost.conf" \
  RESOLVER= 'WAYPOST_SERVERS=server 127.0.0.1:1 max_fails=0;' HTTP_PORT=18088 HTTPS_PORT=18443 PUBLIC_HOST=localhost PUBLIC_PORT=18443 \
  "ACCESS_LOG=$work/access.log" ERROR_LOG=stderr \
  "TLS_CERTIFICATE=$work/certificate.pem" "TLS_KEY=$work/key.pem"
cat > "$work/nginx.conf" <<CONF
pid $work/nginx.pid;
error_log stderr;
events {}
http { include $work/waypost.conf; }
CONF
nginx -t -q -c "$work/nginx.conf"

echo "== caddy validate"
(cd "$work" && XDG_DATA_HOME=$work caddy validate --adapter caddyfile --config "$OLDPWD/deploy/caddy/Caddyfile" >"$work/caddy.log" 2>&1) ||
  { cat "$work/caddy.log"; exit 1; }
caddy fmt deploy/caddy/Caddyfile | cmp - deploy/caddy/Caddyfile

echo "== promtool: rules, their tests, the configuration"
promtool check rules deploy/prometheus/rules/waypost.yml >/dev/null
promtool test rules deploy/prometheus/rules/waypost_test.yml >/dev/null
promtool check config deploy/prometheus/prometheus.yml >/dev/null

echo "== Compose files"
"$bin/check-jsonschema" --quiet --builtin-schema vendor.compose-spec deploy/compose.yml deploy/compose.services.yml
for file in compose.yml compose.services.yml; do
  (cd deploy && "$bin/podman-compose" --env-file .env.example --file "$file" --profile logging config) > "$work/$file" 2> "$work/compose.log" ||
    { cat "$work/compose.log"; exit 1; }
  # What is missing is a variable without a value in .env.example.
  if grep -q 'variable is not set\|CRITICAL' "$work/compose.log"; then cat "$work/compose.log"; exit 1; fi
done
# Images are named by digest, but for the node's own, and those whose comment says that they are not.
grep -hE '^ *image: |^ARG RUST_IMAGE=|^FROM ' deploy/compose*.yml Dockerfile |
  grep -vE '@sha256:[0-9a-f]{64}$|WAYPOST_IMAGE|FROM scratch|FROM \$\{RUST_IMAGE\}|(elastic/filebeat|elasticsearch|kibana):8' &&
  { echo "give the digest of these images"; exit 1; }

echo "== Kubernetes manifests"
python3 deploy/kubernetes/rules.py | cmp - deploy/kubernetes/monitoring/rules.yaml ||
  { echo "make it anew: python3 deploy/kubernetes/rules.py > deploy/kubernetes/monitoring/rules.yaml"; exit 1; }
for overlay in base monitoring; do
  kubectl kustomize "deploy/kubernetes/$overlay" > "$work/$overlay.yaml"
  "$bin/kubernetes-validate" --strict --quiet "$work/$overlay.yaml" 2> "$work/kubernetes.log" ||
    { cat "$work/kubernetes.log"; exit 1; }
done

echo "== systemd unit"
# The binary is where the package puts it, which is not here.
sed "s|^ExecStart=/usr/bin/waypost|ExecStart=$(command -v true)|" deploy/systemd/waypost.service > "$work/waypost.service"
systemd-analyze verify "$work/waypost.service"

echo "== workflows"
"$bin/check-jsonschema" --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
"$bin/check-jsonschema" --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
"$bin/zizmor" --offline --quiet --no-progress .github/workflows .github/dependabot.yml

echo "== every alert is explained, every metric of the dashboard and the rules exists"
python3 deploy/references.py

echo "all files of deploy/ are sound"
