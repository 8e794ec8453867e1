# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""What the suites for metadata backends share with those for blob backends."""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cacheness.backends.base import BackendContext
from cacheness.config import CacheConfig
from cacheness.plugins.tables import load_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["StoreContract"]

_PATIENCE = 60
"""Seconds until another process is taken to hang."""


class StoreContract:
    """Makes the backend that a suite tests."""

    target: Any = None
    """The backend's class, or ``"package.module:attribute"``, as in its `BackendSpec`."""
    shared: bool = False
    """Whether other processes that are given the same context see the same store."""
    persistent: bool = False
    """Whether the store is still there when all that had it open have closed it."""

    def options(self, context: BackendContext) -> dict[str, Any]:
        """The backend's own options, by which it finds the store of this context.

        Two backends of one context have to share a store, and those of two directories
        must not.
        """
        return {}

    def make(self, context: BackendContext) -> Any:
        """Open the backend; in most cases `target` and `options` are all that it takes."""
        assert self.target is not None, (
            f"set {type(self).__name__}.target to your backend's class or its import path"
        )
        return load_target(self.target)(context, **self.options(context))

    @pytest.fixture
    def context(self, tmp_path: Path) -> BackendContext:
        """A directory of its own for each test, with a short wait for locks."""
        return _context(str(tmp_path / "cache"), "")

    @pytest.fixture
    def opened(self) -> Iterator[list[Any]]:
        """What a test opened, to be closed after it."""
        backends: list[Any] = []
        yield backends
        for backend in reversed(backends):
            backend.close()

    @pytest.fixture
    def backend(self, context: BackendContext, opened: list[Any]) -> Any:
        """A backend on an empty store."""
        backend = self.make(context)
        opened.append(backend)
        return backend

    @pytest.fixture
    def another(self, context: BackendContext, opened: list[Any], backend: Any) -> Any:
        """A second backend object on the store of the first."""
        backend = self.make(context)
        opened.append(backend)
        return backend

    def start(self, context: BackendContext, task: str, **arguments: Any) -> Worker:
        """Start a process that opens the store and does a task of `cacheness.testing.worker`.

        Args:
            context: Which store.
            task: The name of the function.
            arguments: Its arguments.
        """
        assert self.shared, "other processes do not see this store (shared = False)"
        return Worker(
            target=self.target,
            options=self.options(context),
            directory=context.directory,
            namespace=context.namespace,
            task=task,
            arguments=arguments,
        )


class Worker:
    """A process that has the store open too."""

    def __init__(self, **job: Any) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cacheness.testing.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert self._process.stdin is not None
        pickle.dump(job, self._process.stdin)
        self._process.stdin.flush()

    def wait_until_ready(self) -> None:
        """Wait for the task to say that it is under way."""
        assert self._process.stdout is not None
        assert self._process.stdout.read(1) == b".", "the worker process failed; see its output"

    def kill(self) -> None:
        """End the process as a power switch would."""
        self._process.kill()
        self._process.communicate()

    def result(self) -> Any:
        """Wait for the task to end and give what it returned."""
        output, _ = self._process.communicate(timeout=2 * _PATIENCE)
        assert self._process.returncode == 0, "the worker process failed; see its output"
        return pickle.loads(output.removeprefix(b"."))


def _context(directory: str, namespace: str) -> BackendContext:
    return BackendContext(directory, namespace, CacheConfig(cache_dir=directory, lock_timeout=30))


def in_namespace(context: BackendContext, namespace: str) -> BackendContext:
    """The same store, another namespace."""
    return BackendContext(context.directory, namespace, context.config)


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Run ``work(0)`` to ``work(count - 1)`` at the same time; raise what one of them raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            start.wait(_PATIENCE)
            work(number)
        except BaseException as error:  # noqa: BLE001  # raised in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def close_twice(backend: Any) -> None:
    """Close a backend, and once more, as several owners do."""
    backend.close()
    try:
        backend.close()
    except Exception as error:  # noqa: BLE001  # told by the failure
        pytest.fail(f"close has to do nothing where all is closed; the second one raised {error!r}")


def forked(task: Any) -> Any:
    """Call ``task()`` in a forked child and give what it returned."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    import warnings

    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Forking a process with threads is what is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(writing, pickle.dumps(task()))
            code = 0
        except BaseException:  # noqa: BLE001  # shown; the child must end here
            sys.excepthook(*sys.exc_info())  # pyright: ignore[reportArgumentType]  # there is one here
            sys.stderr.flush()
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, "rb") as pipe:
        ended, _, _ = select.select([pipe], [], [], _PATIENCE)
        if not ended:
            os.kill(child, signal.SIGKILL)
        output = pipe.read()
    _, status = os.waitpid(child, 0)
    assert ended, (
        f"the forked child hung for {_PATIENCE} s: what a thread of its parent had locked at the "
        "fork stays locked for ever (os.register_at_fork)"
    )
    assert status == 0, "the forked child failed; see its output"
    return pickle.loads(output)
