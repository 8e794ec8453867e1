"""Long operations say how far they are."""

import subprocess
import sys

import pytest

from cacheness import CachenessWarning, ConfigError
from cacheness.progress import reporting


def told():
    calls = []
    return calls, lambda done, total: calls.append((done, total))


def test_a_callable_is_given_how_many_are_done_of_how_many():
    calls, show = told()

    with reporting(show, 5, "copying") as advance:
        advance(2)
        advance(3)

    assert calls == [(2, 5), (5, 5)]


def test_a_total_that_nobody_knows_is_none():
    calls, show = told()

    with reporting(show, None, "copying") as advance:
        advance(1)

    assert calls == [(1, None)]


@pytest.mark.parametrize("quiet", [None, False])
def test_nothing_is_said_where_nobody_asked(capsys, quiet):
    with reporting(quiet, 2, "copying") as advance:
        advance(2)

    assert capsys.readouterr().out == ""


def test_what_the_callable_raises_ends_the_operation():
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), reporting(stop, 2, "copying") as advance:
        advance(1)


def test_true_draws_a_bar(capsys):
    with reporting(True, 3, "copying") as advance:
        advance(3)

    shown = capsys.readouterr().out
    assert "copying" in shown
    assert "3/3" in shown


def test_without_rich_the_operation_goes_on_and_says_why():
    program = """
import sys, warnings
sys.modules["rich.progress"] = None
from cacheness.progress import reporting
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    with reporting(True, 3, "copying") as advance:
        advance(3)
print(seen[0].category.__name__, seen[0].message)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout.startswith(CachenessWarning.__name__), done.stderr
    assert "pip install rich" in done.stdout


def test_what_can_not_be_called_is_refused():
    with pytest.raises(ConfigError, match="progress=3"), reporting(3, 2, "copying"):
        pass
