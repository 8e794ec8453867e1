# SPDX-License-Identifier: MIT
"""A password never shows: not in an error, not in a log, not in a repr."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from cacheness import UnifiedCache
from cacheness.errors import CachenessError, ConfigError
from cacheness_postgres import failures
from cacheness_postgres.address import Address
from cacheness_postgres.backend import PostgresBackend
from cacheness_postgres.blobs import PostgresBlobBackend

from .conftest import context_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "hunter2-Geheim"


def shown(error: BaseException) -> str:
    """All that a report of the error could show."""
    parts: list[str] = []
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        parts.append(repr(one) + str(one) + repr(vars(one)))
        parts.extend(traceback.format_exception(one, chain=False))
        todo += [one.__cause__, one.__context__]
    return "".join(parts)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://someone:{SECRET}@127.0.0.1:1/db",
        f"postgresql://someone:{SECRET}@nowhere.invalid/db",
        f"postgresql://someone:{SECRET}@/db?host=/nowhere",
        f"postgresql+psycopg://someone:{SECRET}@127.0.0.1:1/db",
        f"host=127.0.0.1 port=1 user=someone password={SECRET}",
        f"postgresql://someone:{SECRET}@127.0.0.1:1/db?connect_timeout=1&sslmode=disable",
        f"postgresql://someone:a@{SECRET}@127.0.0.1:1/db",
        f"postgresql://someone:a/{SECRET}@127.0.0.1:1/db",
        f"postgresql://someone:{SECRET}/b@127.0.0.1:1/db",
        f"postgresql://someone:{SECRET}#b@127.0.0.1:1/db",
        f"postgresql://someone:{SECRET}?b@127.0.0.1:1/db",
        f"postgresql://someone:{SECRET}%@127.0.0.1:1/db",
        f"postgresql://someone:{SECRET}:b:c@127.0.0.1:1/db",
        f"{SECRET}",
        f"postgresql://x@127.0.0.1:{SECRET}/db",
        f"postgresql://x@127.0.0.1:1/db?{SECRET}=1",
    ],
)
def test_no_error_shows_the_password(
    url: str, tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    errors: list[BaseException] = []
    context = context_for(tmp_path)
    try:
        backend = PostgresBackend(context, url=url)
    except CachenessError as error:
        errors.append(error)
    else:
        assert SECRET not in repr(backend)
        for use in (backend.count, backend.change_token, backend.lock("k").__enter__):
            with pytest.raises(CachenessError) as caught:
                use()
            errors.append(caught.value)
        backend.close()
    try:
        blobs = PostgresBlobBackend(context, url=url)
    except CachenessError as error:
        errors.append(error)
    else:
        assert SECRET not in repr(blobs)
        with pytest.raises(CachenessError) as caught:
            blobs.exists("ab/" + "0" * 32)
        errors.append(caught.value)
        blobs.close()

    assert errors
    for met in errors:
        assert SECRET not in shown(met)
    assert SECRET not in logged.text


def test_a_password_that_works_shows_nowhere(
    url: str, schema: str, tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    with_password = url.replace("://postgres@", f"://postgres:{SECRET}@")
    if with_password == url:
        pytest.skip("the server's URL has a password of its own")
    options: dict[str, Any] = {"url": with_password, "schema": schema}
    with UnifiedCache(
        str(tmp_path / "c"), metadata_backend="postgres", metadata_options=options
    ) as cache:
        cache.put({"a": 1}, x=1)
        assert cache.get(x=1) == {"a": 1}

        assert SECRET not in repr(cache) + repr(cache.config) + repr(vars(cache))
    assert SECRET not in logged.text


@pytest.mark.parametrize("settle", [failures.unusable, failures.unreachable])
def test_a_password_in_what_the_server_says_is_blotted_out(
    settle: Callable[[Any, Address], CachenessError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", f"{SECRET}-of-the-environment")
    address = Address(f"postgresql://me:{SECRET}@db.example/team")
    told = psycopg.OperationalError(f"neither {SECRET} nor {SECRET}-of-the-environment will do")

    error = settle(told, address)

    assert "neither … nor … will do" in str(error)


def test_the_label_says_where_the_server_is() -> None:
    assert repr(Address("postgresql://me:pw@db.example:5433/team")) == (
        "postgresql://me@db.example:5433/team"
    )
    assert repr(Address("postgresql+psycopg://me@/team?host=/run/pg")) == (
        "postgresql://me@/team?host=/run/pg"
    )


def test_an_ipv6_host_and_several_hosts_are_understood() -> None:
    assert Address("postgresql://me@[::1]:5432/db").parameters["host"] == "::1"
    many = Address("postgresql://me@one:1,two:2/db?target_session_attrs=read-write")
    assert many.parameters["host"] == "one,two"


def test_the_url_comes_from_the_environment(
    url: str, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CACHENESS_POSTGRES_URL", raising=False)
    with pytest.raises(ConfigError, match="CACHENESS_POSTGRES_URL"):
        PostgresBackend(context_for(tmp_path), schema=schema)

    monkeypatch.setenv("CACHENESS_POSTGRES_URL", url)
    PostgresBackend(context_for(tmp_path), schema=schema).close()


@pytest.mark.parametrize("size", [0, -1, True, "many", 1.5, 10_000])
def test_a_pool_size_that_is_none_is_refused(url: str, tmp_path: Path, size: Any) -> None:
    with pytest.raises(ConfigError, match="pool_size"):
        PostgresBackend(context_for(tmp_path), url=url, pool_size=size)
