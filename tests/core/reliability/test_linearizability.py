"""Whatever threads and processes do at once, it is as if they had taken turns."""

import multiprocessing

import pytest
from tests.core.reliability.histories import KEYS, by_key, many_threads, record
from tests.core.reliability.linear import NOTHING, Operation, is_linearizable

from cacheness import UnifiedCache

METHODS = [
    pytest.param(method, marks=pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"))
    for method in multiprocessing.get_all_start_methods()
]


def test_a_history_in_which_a_get_sees_the_old_value_after_the_put_has_ended_is_none():
    put, replace = Operation("put", 1, "k", 0, 10), Operation("put", 2, "k", 20, 30)

    assert is_linearizable([put, replace, Operation("get", 0, 2, 40, 50)])
    assert is_linearizable([put, replace, Operation("get", 0, 1, 25, 50)])
    assert not is_linearizable([put, replace, Operation("get", 0, 1, 40, 50)])


def test_histories_that_contradict_themselves_are_told():
    put = Operation("put", 1, "k", 0, 10)
    gone = Operation("invalidate", 0, True, 20, 30)
    two_adds = [Operation("add", n, True, 0, 10) for n in (1, 2)]

    assert is_linearizable([put, gone, Operation("get", 0, NOTHING, 40, 50)])
    assert not is_linearizable(
        [put, gone, gone],
    ), "removed twice, put once"
    assert not is_linearizable(two_adds)
    assert is_linearizable([two_adds[0], two_adds[1]._replace(result=False)])
    assert not is_linearizable([Operation("get", 0, 7, 0, 10)]), "nobody stored it"
    assert not is_linearizable([put, Operation("get", 0, NOTHING, 20, 30)]), "nobody removed it"
    assert not is_linearizable([put, Operation("touch", 0, False, 20, 30)])
    # Two readers that see two concurrent puts in different orders.
    puts = [Operation("put", n, "k", 0, 100) for n in (1, 2)]
    gets = [
        Operation("get", 0, result, start, start + 5)
        for result, start in ((1, 110), (2, 120), (1, 130))
    ]
    assert not is_linearizable([*puts, *gets])


def options_for(tmp_path, backend):
    return {"cache_dir": tmp_path / "cache", "metadata_backend": backend, "inline_bytes": 100}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_threads_of_processes_take_turns(tmp_path, backend, method):
    histories = record(options_for(tmp_path, backend), method)

    assert sum(map(len, histories.values())) > 900
    for key, history in histories.items():
        assert is_linearizable(history), f"{key}: {sorted(history, key=lambda one: one.start)}"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "json", "memory"])
@pytest.mark.parametrize("tier", [0, 1 << 20], ids=["plain", "tier"])
def test_threads_take_turns(tmp_path, backend, tier):
    with UnifiedCache(**options_for(tmp_path, backend), memory_bytes=tier) as cache:
        histories = by_key([many_threads(cache, 1, 6, 120)])

    for key in KEYS:
        assert is_linearizable(histories[key]), key
