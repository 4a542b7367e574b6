# Waypost as an image: built on Debian bookworm; what runs is the binary and the C library, and no shell.
#
#   docker build -t waypost .
#   docker run -p 8080:8080 -v waypost:/data --stop-timeout 45 --read-only waypost

# By digest (that of the list for all architectures), so that the same compiler and C library go into it whenever it is built; another one is given
# as --build-arg. What runs has no base image.
ARG RUST_IMAGE=rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1
FROM ${RUST_IMAGE} AS build
WORKDIR /build
# 0.9 MB less of addresses to set at the start; the C library of bookworm knows the form.
ENV RUSTFLAGS="-C link-arg=-Wl,-z,pack-relative-relocs"

# The dependency layer: manifests and empty crates. It is built again only when a manifest or the lock file changes.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY crates/protocol/Cargo.toml crates/protocol/
COPY crates/runtime/Cargo.toml crates/runtime/
COPY crates/store/Cargo.toml crates/store/
COPY crates/tasks/Cargo.toml crates/tasks/
COPY crates/telemetry/Cargo.toml crates/telemetry/
COPY crates/transport/Cargo.toml crates/transport/
COPY crates/consensus/Cargo.toml crates/consensus/
COPY crates/catalog/Cargo.toml crates/catalog/
COPY crates/head/Cargo.toml crates/head/
COPY crates/journal/Cargo.toml crates/journal/
COPY crates/testkit/Cargo.toml crates/testkit/
COPY actors/key_allocator/Cargo.toml actors/key_allocator/
COPY actors/link_store/Cargo.toml actors/link_store/
COPY actors/redirector/Cargo.toml actors/redirector/
COPY actors/click_counter/Cargo.toml actors/click_counter/
COPY actors/janitor/Cargo.toml actors/janitor/
COPY benches/load/Cargo.toml benches/load/
RUN set -eu; \
    for crate in . crates/* actors/* benches/load; do mkdir -p "$crate/src"; : > "$crate/src/lib.rs"; done; \
    echo 'fn main() {}' | tee src/main.rs > benches/load/src/main.rs; \
    mkdir tests; : > tests/it.rs; : > benches/hot_paths.rs; \
    cargo build --profile dist --locked --package waypost --bin waypost; \
    rm -r src crates/*/src actors/*/src

COPY cluster.toml askama.toml ./
COPY src src
COPY crates crates
COPY actors actors
# Cargo goes by times: the sources have to look newer than the empty crates built above. The root file system of the last stage
# is laid out here: the binary, what it is linked with, the user, and an empty data directory.
RUN set -eu; \
    find src crates actors -name '*.rs' -exec touch {} +; \
    cargo build --profile dist --locked --package waypost --bin waypost; \
    mkdir -p /root-fs/usr/bin /root-fs/etc /root-fs/data /root-fs/tmp; \
    strip --strip-all -o /root-fs/usr/bin/waypost target/dist/waypost; \
    ldd target/dist/waypost | grep -o '/lib[^ ]*' | while read -r library; do \
        mkdir -p "/root-fs$(dirname "$library")"; cp --dereference "$library" "/root-fs$library"; \
    done; \
    echo 'waypost:x:10001:10001::/data:/usr/sbin/nologin' > /root-fs/etc/passwd; \
    echo 'waypost:x:10001:' > /root-fs/etc/group; \
    echo 'hosts: files dns' > /root-fs/etc/nsswitch.conf; \
    chmod 0700 /root-fs/data; chmod 1777 /root-fs/tmp; chown 10001:10001 /root-fs/data; \
    find /root-fs -exec touch --no-dereference --date=@0 {} +

FROM scratch
LABEL org.opencontainers.image.title="Waypost" \
      org.opencontainers.image.description="A URL shortener that is one binary: alone, or as a cluster that loses no link" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
COPY --from=build /root-fs /
COPY --from=build --chown=10001:10001 /root-fs/data /data
USER 10001:10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# The first start replays the log, so it gets time before a failure counts.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["/usr/bin/waypost", "health", "--redirects"]
ENTRYPOINT ["/usr/bin/waypost"]
# The listener is public inside the container, so the first start prints an admin key: `docker logs` shows it once.
CMD ["serve", "--data-dir", "/data", "--listen", "0.0.0.0:8080", "--admin-listen", "127.0.0.1:9090"]
