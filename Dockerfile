# syntax=docker/dockerfile:1
# Waypost as an image: built on Debian bookworm, run on its slim variant by a user without rights.
#
#   docker build -t waypost .
#   docker run -p 8080:8080 -v waypost:/data --stop-timeout 45 waypost

FROM rust:1.95-bookworm AS build
WORKDIR /build

# The dependency layer: manifests and empty crates. It is built again only when a manifest or the lock file changes.
COPY Cargo.toml Cargo.lock ./
COPY crates/protocol/Cargo.toml crates/protocol/
COPY crates/runtime/Cargo.toml crates/runtime/
COPY crates/store/Cargo.toml crates/store/
COPY crates/telemetry/Cargo.toml crates/telemetry/
COPY crates/consensus/Cargo.toml crates/consensus/
COPY crates/testkit/Cargo.toml crates/testkit/
COPY actors/key_allocator/Cargo.toml actors/key_allocator/
COPY actors/link_store/Cargo.toml actors/link_store/
COPY actors/redirector/Cargo.toml actors/redirector/
COPY actors/click_counter/Cargo.toml actors/click_counter/
COPY actors/janitor/Cargo.toml actors/janitor/
COPY benches benches
RUN set -eu; \
    for crate in . crates/* actors/*; do mkdir -p "$crate/src"; : > "$crate/src/lib.rs"; done; \
    echo 'fn main() {}' > src/main.rs; \
    mkdir tests; : > tests/it.rs; \
    cargo build --release --locked --package waypost --bin waypost; \
    rm -r src crates/*/src actors/*/src

COPY cluster.toml ./
COPY src src
COPY crates crates
COPY actors actors
# Cargo goes by times: the sources have to look newer than the empty crates built above.
RUN set -eu; \
    find src crates actors -name '*.rs' -exec touch {} +; \
    cargo build --release --locked --package waypost --bin waypost

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin waypost \
    && install --directory --owner=waypost --group=waypost --mode=0700 /data
COPY --from=build /build/target/release/waypost /usr/local/bin/waypost
USER 10001:10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# The first start replays the log, so it gets time before a failure counts.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["waypost", "health"]
ENTRYPOINT ["waypost"]
# The listener is public inside the container, so the first start prints an admin key: `docker logs` shows it once.
CMD ["serve", "--data-dir", "/data", "--listen", "0.0.0.0:8080", "--admin-listen", "127.0.0.1:9090"]
