#!/usr/bin/env bash
# Builds the image from the Dockerfile where no registry can be reached: the base image is made here, of Debian's packages and the
# installed Rust toolchain; the digest in the Dockerfile is for where there is a registry. Needs root, buildah and debootstrap. Prints the size, and runs
# the image's program as the image's user on a read-only root.
#
#   make image          # with a registry, `docker build -t waypost .` does the same
#   IMAGE_TWICE=1 make image   # builds it a second time from nothing, and compares the two
set -euo pipefail
cd "$(dirname "$0")/../.."
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
base=docker.io/library/rust:1.95-bookworm
work=${IMAGE_WORK:-$PWD/target/image}
mkdir -p "$work"

# The crates are in the base image, so another lock file needs another one.
lock=$(sha256sum Cargo.lock | cut -d' ' -f1)
label='{{index .OCIv1.Config.Labels "waypost.lock"}}'
if [ "$(buildah inspect --type image --format "$label" "$base" 2>/dev/null)" != "$lock" ]; then
  if [ ! -d "$work/base/usr/lib/gcc" ]; then
    echo "making the base image of Debian's packages"
    rm -rf "$work/base"
    debootstrap --variant=minbase --include=gcc,libc6-dev,ca-certificates,make bookworm "$work/base" >"$work/debootstrap.log" 2>&1 ||
      { tail "$work/debootstrap.log"; exit 1; }
  fi
  echo "adding the Rust toolchain and the crates of Cargo.lock"
  cargo fetch --locked
  toolchain=$(rustc --print sysroot)
  mkdir -p "$work/base/usr/local/rust" "$work/base/usr/local/cargo"
  cp -a "$toolchain/." "$work/base/usr/local/rust/"
  rm -rf "$work/base/usr/local/rust/share/doc"
  cp -a "${CARGO_HOME:-$HOME/.cargo}/registry" "$work/base/usr/local/cargo/"
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$work/base" / >/dev/null
  buildah config --env PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env CARGO_HOME=/usr/local/cargo --env CARGO_NET_OFFLINE=true --label "waypost.lock=$lock" "$container"
  buildah commit --quiet --rm "$container" "$base" >/dev/null
  rm -rf "$work/base"
fi

echo "building the image"
buildah bud --pull-never --build-arg "RUST_IMAGE=$base" --layers=false --format docker --timestamp 0 --tag waypost:latest . >"$work/build.log" 2>&1 || { tail -40 "$work/build.log"; exit 1; }

if [ -n "${IMAGE_TWICE:-}" ]; then
  echo "building it again"
  buildah bud --pull-never --build-arg "RUST_IMAGE=$base" --layers=false --no-cache --format docker --timestamp 0 --tag waypost:again . >"$work/again.log" 2>&1 ||
    { tail -40 "$work/again.log"; exit 1; }
  # All files with their owners, modes and times. What is around them names the builder's container, which is another each time.
  layers='{{.OCIv1.RootFS.DiffIDs}}'
  first=$(buildah inspect --type image --format "$layers" waypost:latest)
  again=$(buildah inspect --type image --format "$layers" waypost:again)
  [ "$first" = "$again" ] || { echo "two builds differ: $first and $again"; exit 1; }
  echo "two builds have the same content: $first"
fi

container=$(buildah from --pull-never waypost:latest)
trap 'buildah rm "$container" >/dev/null; umount "$work/root" 2>/dev/null || true' EXIT
root=$(buildah mount "$container")
printf 'image size: %s bytes\n' "$(du --apparent-size --block-size=1 --summarize "$root" | cut -f1)"
printf 'as it is transferred (gzip): %s bytes\n' "$(tar -C "$root" --sort=name -c . | gzip -n | wc -c)"
(cd "$root" && find . -type f -size +100k -exec ls -l {} + | awk '{print $5, $9}')

# As the image's user, with nothing writable but /data: what `docker run --read-only` does.
data=$(mktemp -d)
chown 10001:10001 "$data"
mkdir -p "$work/root"
unshare --mount --pid --fork --kill-child bash -euo pipefail -s "$root" "$work/root" "$data" <<'RUN'
mount --bind "$1" "$2"
mount -o remount,bind,ro "$2"
mount --bind "$3" "$2/data"
run=(chroot --userspec=10001:10001 "$2" /usr/bin/waypost)
"${run[@]}" --version
# Process 1 of its own namespace would be the shell here; the image's entry point is the program itself.
"${run[@]}" serve --data-dir /data --listen 127.0.0.1:18080 --admin-listen 127.0.0.1:19090 >/dev/null 2>"$3.log" &
node=$!
for _ in $(seq 300); do
  if "${run[@]}" health --server http://127.0.0.1:18080 >/dev/null 2>&1; then break; fi
  sleep 0.1
done
"${run[@]}" health --server http://127.0.0.1:18080
code=$("${run[@]}" shorten https://example.com/from/the/image --server http://127.0.0.1:18080)
"${run[@]}" resolve "$code" --server http://127.0.0.1:18080
if "${run[@]}" serve --data-dir /elsewhere --listen 127.0.0.1:18081 --admin-listen 127.0.0.1:19091 2>/dev/null; then
  echo "the root is writable"; exit 1
fi
kill -TERM "$node"
wait "$node" && echo "stopped in order after SIGTERM"
RUN
rm -rf "$data" "$data.log"
