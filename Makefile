# The tasks of the project. `make verify` checks format, lints and documentation, and changes no file; `make fix` does. `.ci/run` is the whole gate.

CARGO ?= cargo
RUSTC ?= rustc

.PHONY: deb extras mutants upgrade run test verify fix deny bench bench-redirect bench-clients bench-create bench-years bench-growth bench-cluster bench-kinds bench-paired bench-lists bench-ui soak-kill soak-walks soak-cluster soak-clicks soak-founding cluster fuzz image openapi deploy-check smoke soak-referrers soak-connections ui-pictures

run:
	$(CARGO) run --release -- serve

test:
	$(CARGO) test --workspace --locked

verify:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	CARGO_MANIFEST_DIR="$(CURDIR)" $(RUSTC) --edition 2024 --test tests/tidy/mod.rs -o target/tidy
	target/tidy

fix:
	$(CARGO) fmt --all
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged

# Needs cargo-deny (cargo install cargo-deny --locked) and, for advisories, a copy of the advisory database.
deny:
	$(CARGO) deny check bans licenses sources

bench:
	$(CARGO) bench --workspace

bench-redirect:
	python3 benches/redirect.py $(BENCH_ARGS)

# Redirects with the headers of a browser, pipelined, over few and many connections, and among other requests; beside nginx and a loop in C.
bench-clients:
	python3 benches/clients.py $(BENCH_ARGS)

bench-create:
	python3 benches/create.py $(BENCH_ARGS)

bench-years:
	python3 benches/years.py $(BENCH_ARGS)

bench-growth:
	python3 benches/growth.py $(BENCH_ARGS)

# Links that do more than leading to their target, beside plain ones.
bench-kinds:
	python3 benches/kinds.py $(BENCH_ARGS)

bench-cluster:
	python3 benches/cluster.py $(BENCH_ARGS)

# The catalog alone: how fast it is filled, its size, and how long lists and searches take. URLS=FILE has real URLs, one a line.
bench-lists:
	$(CARGO) run --release --locked --package waypost-catalog --example lists -- --links $(or $(LINKS),1000000) $(if $(URLS),--urls $(URLS))

# The dashboard: bytes and requests of each view, and how long the server takes for it.
bench-ui:
	python3 benches/ui.py $(BENCH_ARGS)

# Two builds in turn: make bench-paired BEFORE=old/waypost AFTER=target/release/waypost
bench-paired:
	python3 benches/paired.py $(BENCH_ARGS) $(BEFORE) $(AFTER)

# Three nodes on this machine, with what to try. Ctrl-C stops them; their data stays in waypost-cluster/.
cluster:
	$(CARGO) build --release
	bash deploy/local/cluster.sh target/release/waypost

# Every file of deploy/ and .github/, checked with the tool that reads it.
deploy-check:
	$(CARGO) build --workspace --locked
	bash deploy/check.sh target/debug/waypost

# Three nodes behind the real nginx, scraped by the real Prometheus, under load; one dies and comes back, then two do. With PICTURE=file.png
# the dashboard is drawn.
smoke:
	$(CARGO) build --workspace --locked
	bash deploy/tools.sh
	target/deploy-tools/bin/python3 deploy/smoke.py target/debug/waypost $(if $(PICTURE),--picture $(PICTURE))

# A cluster of an earlier version (FROM: a tag or commit; by default the last release, else f8b06c4) becomes one of this, node by node, under load.
upgrade:
	$(CARGO) build --workspace --locked
	bash deploy/upgrade.sh target/debug/waypost $(FROM)

# The manual pages and the completions of shells, as the program prints them: in target/extras, for packages.
extras:
	$(CARGO) build --profile dist --locked --package waypost --bin waypost
	rm -rf target/extras
	mkdir -p target/extras/completions
	target/dist/waypost man target/extras/man
	target/dist/waypost completions bash > target/extras/completions/waypost
	target/dist/waypost completions zsh > target/extras/completions/_waypost
	target/dist/waypost completions fish > target/extras/completions/waypost.fish

# The package for Debian. Needs cargo-deb (cargo install cargo-deb --locked).
deb: extras
	$(CARGO) deb --no-build --package waypost

# The image from the Dockerfile, with base images made on this machine (needs root, buildah, debootstrap).
image:
	bash deploy/image/build.sh

# Writes the document of the API anew, from the handlers.
openapi:
	TEST_WRITES_DOCUMENT=1 $(CARGO) test --locked --lib --package waypost the_document_that_is_served

# Ten minutes each (or FUZZ_SECONDS) of bytes that chance and coverage choose, against the frames of the peer port and the heads of the fast path.
# Needs cargo-fuzz and clang's runtime. New inputs are kept in the corpus folders, which are not in the repository.
fuzz:
	cd crates/transport && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run frame --fuzz-dir fuzz -- -max_total_time=$(or $(FUZZ_SECONDS),600) -max_len=4096
	mkdir -p crates/head/fuzz/corpus/head
	cd crates/head && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run head --fuzz-dir fuzz fuzz/corpus/head fuzz/seeds -- -max_total_time=$(or $(FUZZ_SECONDS),600) -max_len=2048

# Two hundred faults (or FAULTS) of all kinds together, to a cluster of three under load: kills, restarts, partitions, clocks that jump, snapshots and
# backups. Looks for links that were lost, aliases with two owners, answers that are too old, and visits that are not counted once. Says its seed;
# TEST_SEED draws the same again. Then a hundred kills (or KILLS), each without one failed redirect on the nodes that live.
soak-cluster:
	TEST_FAULTS=$(or $(FAULTS),200) $(CARGO) test --test it links_changes_and_visits_survive -- --nocapture
	TEST_KILLS=$(or $(KILLS),100) $(CARGO) test --test it a_killed_node_costs_no_link -- --nocapture

# Kills one of three new nodes at a random moment of their first five seconds, fifty times (or KILLS), and looks for what was acknowledged.
soak-founding:
	TEST_KILLS=$(or $(KILLS),50) $(CARGO) test --test it a_node_that_is_killed_while_a_cluster_is_founded -- --nocapture

# Kills nodes while visitors follow links, twenty times each (or KILLS), and compares what was sent with what was counted.
soak-clicks:
	TEST_KILLS=$(or $(KILLS),20) $(CARGO) test --test it exactly_once -- --nocapture

# Ten million different referrers (or REFERRERS) to one link: memory and disk stay within their bounds.
soak-referrers:
	TEST_REFERRERS=$(or $(REFERRERS),10000000) $(CARGO) test -p waypost-store --test referrers -- --nocapture

# Kills the server fifty times (or KILLS) while clients create links, and looks for every one that was acknowledged.
soak-kill:
	TEST_KILLS=$(or $(KILLS),50) $(CARGO) test --test it every_acknowledged_link_survives_sigkill -- --nocapture

# Sixty thousand links (or CHANGES) are created and deleted by 32 clients while lists are walked page by page: each link that stays is on the pages once.
soak-walks:
	TEST_CHANGES=$(or $(CHANGES),60000) $(CARGO) test --test it walks_have_each_link -- --nocapture

# Ten thousand idle connections (or IDLE) and a thousand that send and never read (or NEVER_READING), beside one steady client: memory stays within
# what cluster.toml says. Needs 12,100 open files in each process.
soak-connections:
	TEST_IDLE=$(or $(IDLE),10000) TEST_NEVER_READING=$(or $(NEVER_READING),1000) $(CARGO) test --test it many_connections_that_never_read -- --nocapture

# Pictures of every view of the dashboard, with made-up data, at three widths and in both themes: in target/ui-pictures; all.png shows them together.
# Needs what tests/ui needs.
ui-pictures:
	rm -rf target/ui-pictures
	TEST_PICTURES=$(CURDIR)/target/ui-pictures $(CARGO) test --locked --test it every_view_is_accessible -- --nocapture

# Changes the source in small ways and looks whether the tests of the same crate notice (needs cargo-mutants). CRATES are protocol, journal and store by
# default; hours for all of it, so SHARD=k/n takes every n-th change. What is not noticed is in target/mutants/CRATE/mutants.out/missed.txt.
mutants:
	@status=0; for crate in $(or $(CRATES),protocol journal store); do \
	  mkdir -p target/mutants/$$crate; \
	  $(CARGO) mutants --package waypost-$$crate --output target/mutants/$$crate --minimum-test-timeout 120 \
	    $(if $(SHARD),--sharding round-robin --shard $(SHARD)) || status=$$?; \
	done; exit $$status
