# SPDX-License-Identifier: MIT
"""What a handler raises beside `Exception`: a panic is a failure, a request to stop is not."""

import asyncio
import sys

import pytest

from cacheness import (
    BufferHandler,
    CachenessWarning,
    Handler,
    UnifiedCache,
    register_handler,
    unregister_handler,
)


class PanicError(BaseException):
    """As `polars.exceptions.PanicException`, which is no `Exception` either."""


class Thing:
    """What the handlers below keep."""


raising: list[type[BaseException]] = []


def fail():
    if raising:
        raise raising[0]
    return Thing()


class FileHandler(Handler):
    data_only = True

    def can_handle(self, obj):
        return type(obj) is Thing

    def put(self, obj, file_path):
        with open(file_path, "wb") as file:
            file.write(b"thing")
        return {}

    def get(self, file_path):
        return fail()


class BufferedHandler(BufferHandler):
    data_only = True

    def can_handle(self, obj):
        return type(obj) is Thing

    def dumps(self, obj, context):
        return [b"thing"], {}

    def loads(self, buffer, metadata, context):
        return fail()


class NotedHandler(BufferedHandler):
    """An entry with metadata takes the longer way through the core."""

    def dumps(self, obj, context):
        return [b"thing"], {"noted": True}


WAYS = {
    "a file": lambda: Thing(),
    "a buffer": lambda: Thing(),
    "metadata": lambda: Thing(),
    "a part": lambda: {"thing": Thing(), "beside": 1},
}
KINDS = {
    "a file": FileHandler,
    "a buffer": BufferedHandler,
    "metadata": NotedHandler,
    "a part": BufferedHandler,
}


@pytest.fixture(params=WAYS)
def cache(request, tmp_path):
    kind = KINDS[request.param]
    register_handler(priority=100)(kind)
    raising.clear()
    with UnifiedCache(tmp_path / "cache", signing_key="0" * 64, memory_bytes="1MB") as made:
        made.put(WAYS[request.param](), "k")
        yield made
    raising.clear()
    unregister_handler(kind.name)


def test_a_panic_of_a_handler_is_an_entry_that_cannot_be_decoded(cache):
    raising.append(PanicError)

    for _ in range(2):
        with pytest.warns(CachenessWarning, match="PanicError"):
            assert cache.get("k", default="d") == "d"
    assert "k" in cache


def test_a_panic_at_a_repeated_get_is_one_too(cache):
    assert cache.get("k") is not None
    raising.append(PanicError)

    with pytest.warns(CachenessWarning, match="PanicError"):
        assert cache.get("k", default="d") == "d"


@pytest.mark.parametrize(
    "ending", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]
)
def test_what_ends_the_caller_passes_through(cache, ending):
    raising.append(ending)

    with pytest.raises(ending):
        cache.get("k")
    assert "k" in cache


def test_a_panic_is_told_where_asyncio_was_never_imported(cache, monkeypatch):
    monkeypatch.delitem(sys.modules, "asyncio.exceptions")
    raising.append(PanicError)

    with pytest.warns(CachenessWarning, match="PanicError"):
        assert cache.get("k", default="d") == "d"
