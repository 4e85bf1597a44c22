"""A Ray cluster of two nodes on this machine: same bits, one GPU a unit, no queue, workers and nodes that die.

Needs ray (extra ``distributed``); ``python -m pytest tests/search/core/test_ray.py`` takes one to three minutes, most
of it the start of the nodes.
"""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from search.core.executors import make_slots, raised_by
from search.core.ledger import Ledger
from search.core.runner import Task, run
from search.core.unit import Unit
from search.core.work import work
from stl_algebra import StlError

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(600)  # nodes start slowly on a busy machine
ROOT = Path(__file__).parents[3]
FOUND = Unit("orbit", "Z3", (2, 2, 2), 7, {"counts": {"3": 1, "1:<a>:+": 4}, "restarts": 24}, 1, "Z")


def long(count, seconds):
    """Units that take their whole time: nothing of rank 6 exists."""
    return [Task(Unit("flips", "none", (2, 2, 2), 6, {}, seed, "Z"), str(seed), seconds) for seed in range(count)]


def patiently(start, tries=4):
    """Ray gives a node thirty seconds to start, whatever else the machine does."""
    for left in reversed(range(tries)):
        try:
            return start()
        except Exception:
            if not left:
                raise
            time.sleep(5)


class Nodes:
    """Two nodes of one CPU and one (claimed) GPU each."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        self.options = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": 80 << 20}
        self.cluster = patiently(
            lambda: Cluster(initialize_head=True, head_node_args={**self.options, "include_dashboard": False})
        )
        self.second = self.add()
        os.environ["PYTHONPATH"] = str(ROOT)
        ray.init(address=self.cluster.address, log_to_driver=False)

    def add(self):
        node = patiently(lambda: self.cluster.add_node(wait=False, **self.options))
        self.cluster.wait_for_nodes(200)
        return node

    def kill(self):
        self.cluster.remove_node(self.second, allow_graceful=False)

    def workers(self):
        """Process ids of the workers that run something, on any node."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            except OSError:
                continue
            if words.startswith(b"ray::work"):
                found.append(int(entry.name))
        return found


@pytest.fixture(scope="module")
def nodes():
    made = Nodes()
    yield made
    ray.shutdown()
    made.cluster.shutdown()


def watching(count, act):
    """A `progress` that acts once, when so many units are in flight, and counts how many there ever were."""
    seen = []

    def progress(summary, flying):
        seen.append(len(flying))
        if len(flying) == count and not timer.ident:
            timer.start()

    timer = threading.Timer(3.0, act)
    return progress, seen


def test_equal_bits_and_one_ledger(nodes, tmp_path):
    summary = run(iter([[Task(FOUND)]]), tmp_path, make_slots("ray"), always=True)
    (done,) = summary.outcomes.values()
    assert {e["sha256"] for e in done["exact"]} == {e.digest for e in work(FOUND).encoders} != set()
    again = run(iter([[Task(FOUND)]]), tmp_path, make_slots("thread", 1), always=True)
    assert again.skipped == 1 and again.ran == 0


def _where():
    time.sleep(2)
    return ray.get_runtime_context().get_node_id(), os.environ["CUDA_VISIBLE_DEVICES"]


def test_a_unit_has_a_gpu_to_itself(nodes):
    slots = make_slots("ray", device="all")
    assert len(slots) == 2 and {s.device for s in slots} == {"cuda"}
    assert {f.result(200) for f in [s.submit(_where) for s in slots]} == {
        (n["NodeID"], "0") for n in ray.nodes() if n["Alive"]
    }


def test_no_more_units_in_flight_than_there_is_room(nodes, tmp_path):
    progress, seen = watching(99, lambda: None)
    slots = make_slots("ray", 50)
    assert sum(s.there() for s in slots) == 2
    summary = run(iter([long(6, 0.5)]), tmp_path, slots, progress=progress)
    assert summary.ran == 6 and max(seen) == 2


def _missing():
    raise ModuleNotFoundError("No module named 'search'")


def test_what_a_worker_raised_is_not_taken_for_its_death(nodes, tmp_path):
    (slot, _) = make_slots("ray")
    error = slot.submit(_missing).exception(200)
    assert isinstance(raised_by(error), ModuleNotFoundError)
    slot.start = lambda: slot.submit(_missing)
    with pytest.raises(StlError, match="every node"):
        run(iter([long(1, 1.0)]), tmp_path, [slot])


def test_a_killed_worker_is_replaced(nodes, tmp_path):
    killed = []

    def kill():
        killed.extend(nodes.workers()[:1])
        os.kill(killed[0], signal.SIGKILL)

    progress, _ = watching(2, kill)
    summary = run(iter([long(2, 8.0)]), tmp_path, make_slots("ray"), progress=progress)
    assert killed and (summary.retried, summary.ran, summary.failed) == (1, 2, 0)
    assert any("worker died" in m for m in summary.messages)


def test_units_of_a_node_that_dies_run_on_the_others_and_new_nodes_are_used(nodes, tmp_path):
    progress, _ = watching(2, nodes.kill)
    summary = run(iter([long(3, 8.0)]), tmp_path, make_slots("ray"), progress=progress)
    assert summary.retried >= 1 and summary.ran == 3 and summary.failed == 0
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.counts() == {"done": 3}
    slots = make_slots("ray", 2)
    assert sum(s.there() for s in slots) == 1
    nodes.second = nodes.add()
    deadline = time.monotonic() + 60
    while sum(s.there() for s in slots) < 2 and time.monotonic() < deadline:
        time.sleep(1)
    assert sum(s.there() for s in slots) == 2
