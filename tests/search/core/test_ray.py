"""A Ray cluster of two nodes: the same bits as here, and units of a node that dies are run again (needs ray)."""

import threading

import pytest

from search.core.executors import make_slots
from search.core.runner import Task, run
from search.core.unit import Unit
from search.core.work import work

ray = pytest.importorskip("ray")
FOUND = Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": {"3": 1, "1:<a>:+": 4}, "restarts": 24}, 0, "Z")
LONG = [Unit("flips", "none", (2, 2, 2), 6, {}, seed, "Z") for seed in range(2)]


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.second = nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.timeout(280)
def test_two_nodes_one_of_which_dies(cluster, tmp_path):
    slots = make_slots("ray")
    assert len(slots) == 2
    summary = run(iter([[Task(FOUND)]]), tmp_path / "a", slots, always=True)
    (done,) = summary.outcomes.values()
    assert {e["sha256"] for e in done["exact"]} == {e.digest for e in work(FOUND).encoders}
    timer = threading.Timer(3.0, cluster.remove_node, [cluster.second, False])

    def progress(summary, flying):
        if len(flying) == 2 and not timer.ident:
            timer.start()

    tasks = [Task(u, seconds=20.0) for u in LONG]
    summary = run(iter([tasks]), tmp_path / "b", make_slots("ray", 2), progress=progress)
    assert summary.retried >= 1 and summary.ran == 2 and summary.failed == 0
