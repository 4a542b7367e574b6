"""A cluster of three nodes as its administrator sees it: changed on the admin listener, and only shown on the public one."""

import pathlib
import subprocess

from browser import main
from playwright.sync_api import expect
from server import Server, eventually

SHARDS = 16


def seen(run):
    """The cluster, as the API of the admin listener tells it."""
    answer = Server(run.arguments.admin, run.server.key).ask("GET", "/cluster")
    assert answer.status == 200, answer.body
    return answer.json()


def groups_of(run, name):
    """The groups of which a node says that it holds them, each with what it says of it."""
    node = next(node for node in seen(run)["nodes"] if node["name"] == name)
    return {group["group"]: group for group in (node["status"] or {"groups": []})["groups"]}


def by_leaders(run):
    """The names of the nodes, each with the groups of shards that it leads; those that lead fewest come first."""
    names = [node["name"] for node in seen(run)["nodes"]]
    led = {name: [number for number, group in groups_of(run, name).items() if number and group["leader"]] for name in names}
    return sorted(led.items(), key=lambda node: len(node[1]))


def leaders_are_even(run):
    led = [len(groups) for _, groups in by_leaders(run)]
    return sum(led) == SHARDS and led[-1] <= led[0] + 1


def row_of(visitor, name, exact=False):
    """The row of a node or a shard."""
    return visitor.page.get_by_role("row").filter(has=visitor.page.get_by_role("rowheader", name=name, exact=exact))


def a_node_is_drained_and_gets_its_share_back(run):
    run.server.create("https://example.com/meanwhile", customSlug="meanwhile")
    visitor = run.visitor(admin=True)
    # Leaders are still being evened out after the start: a shard is without one for a moment, now and then.
    eventually(lambda: leaders_are_even(run), "leaders are even")
    visitor.comes_to_see("/cluster", "cluster.well")
    row = row_of(visitor, "n3")
    row.get_by_role("button", name=visitor.t("cluster.drain")).click()
    # What will happen is said before: two nodes cannot keep three copies.
    visitor.sees("cluster.drain-title", "n3")
    visitor.sees("cluster.drain-dropped", SHARDS)
    visitor.sees("cluster.drain-both-needed")
    visitor.sees("cluster.drain-redirects")
    assert not any(node["drain"] for node in seen(run)["nodes"])
    visitor.button("cluster.drain").click()
    visitor.sees("cluster.drained")
    expect(row).to_contain_text(visitor.t("cluster.draining"))
    eventually(lambda: set(groups_of(run, "n3")) <= {0}, "the node is empty")
    assert run.server.visit("meanwhile") == 302
    run.server.create("https://example.com/by-two", customSlug="by-two")
    visitor.go("/cluster")
    row.get_by_role("button", name=visitor.t("cluster.undrain")).click()
    visitor.sees("cluster.undrained")
    eventually(lambda: set(groups_of(run, "n3")) == set(range(SHARDS + 1)), "the node has its share again")


def another_node_becomes_the_leader_of_a_shard(run):
    # A node that has just come back is still given leaders. And where some lead more than others, the cluster would take back what is moved.
    eventually(lambda: leaders_are_even(run), "leaders are even")
    fewest, most = by_leaders(run)[0], by_leaders(run)[-1]
    (chosen, _), group = fewest, most[1][0]
    visitor = run.visitor(admin=True)
    visitor.go("/cluster")
    visitor.sees("cluster.leader-hint")
    row = row_of(visitor, visitor.t("cluster.shard", str(group - 1)), exact=True)
    row.get_by_label(visitor.t("cluster.new-leader")).select_option(chosen)
    row.get_by_role("button", name=visitor.t("cluster.move-leader")).click()
    visitor.sees("cluster.leader-moved")
    eventually(lambda: groups_of(run, chosen)[group]["leader"], f"{chosen} leads the shard")


def a_backup_is_taken_and_is_sound(run):
    visitor = run.visitor(admin=True)
    visitor.go("/cluster")
    visitor.sees("cluster.backup-hint")
    with visitor.page.expect_download() as download:
        visitor.button("cluster.backup").click()
    file = pathlib.Path(download.value.path())
    done = subprocess.run([run.arguments.program, "check", "--backup", file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def the_public_listener_shows_the_cluster_and_leads_to_where_it_is_changed(run):
    visitor = run.visitor()
    visitor.expects(403)
    visitor.go("/cluster")
    visitor.sees("cluster.nodes")
    for hint in ("cluster.backup-hint", "cluster.leader-hint"):
        expect(visitor.page.get_by_text(visitor.t(hint))).to_have_count(0)
    expect(visitor.page.locator("form[action*='/cluster/']")).to_have_count(0)
    # What is not offered is not done either.
    origin = {"Origin": run.server.url, "Sec-Fetch-Site": "same-origin"}
    for path, form in (("drain", {"node": "n3"}), ("undrain", {"node": "n3"}), ("leader", {"group": "1", "to": "n3"}), ("backup", {})):
        answer = visitor.context.request.post(f"{run.base}/cluster/{path}", form=form, headers=origin)
        assert answer.status == 403, f"{path}: {answer.status}"
    visitor.go("/cluster/drain?node=n3")
    visitor.sees("failure.forbidden")
    assert not any(node["drain"] for node in seen(run)["nodes"])
    visitor.go("/cluster")
    visitor.page.get_by_role("link", name=f"{run.arguments.admin}{run.base}/cluster").click()
    # The same session is signed in there.
    expect(visitor.button("cluster.backup")).to_be_visible()


if __name__ == "__main__":
    main([a_node_is_drained_and_gets_its_share_back, another_node_becomes_the_leader_of_a_shard, a_backup_is_taken_and_is_sound,
          the_public_listener_shows_the_cluster_and_leads_to_where_it_is_changed], more=[("--program", "the binary")])
