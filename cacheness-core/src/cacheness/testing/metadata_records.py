# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""What a metadata backend that declares ``records`` promises of typed custom metadata."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from cacheness.custom_metadata import custom_metadata_model, parse_query, typed_metadata
from cacheness.errors import ConfigError
from cacheness.filters import Filter
from cacheness.testing.metadata_entries import make_entry
from cacheness.testing.store import StoreContract

if TYPE_CHECKING:
    from collections.abc import Callable

    from cacheness.backends.base import MetadataBackend
    from cacheness.entry import Entry

__all__ = ["RecordPromises"]


@custom_metadata_model
@dataclass
class SuiteRecord:
    """A model with a column of every kind."""

    text: str
    whole: int = 0
    real: float = 0.5
    flag: bool = False
    raw: bytes = b""
    at: datetime | None = None


_RECORDS = (
    SuiteRecord("a"),
    SuiteRecord("A", 2**63 - 1, 1 / 3, True, b"\0\xff", datetime(2024, 2, 29, 1, 2, 3, 4)),
    SuiteRecord("ünï%", -(2**63), -5e-324, False, b"x", datetime(2024, 3, 1, tzinfo=UTC)),
)

_QUERIES: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "012"),
    ({"text": "a"}, "0"),
    ({"text__ne": "a"}, "12"),
    ({"whole__gt": 0}, "1"),
    ({"whole__lte": 0}, "02"),
    ({"real": 1 / 3}, "1"),
    ({"real__lt": 0, "text__contains": "%"}, "2"),
    ({"flag": True}, "1"),
    ({"raw": b"\0\xff"}, "1"),
    ({"at": None}, "0"),
    ({"at__ne": None}, "12"),
    ({"text__startswith": "A"}, "1"),
    ({"text__in": ["a", "ünï%"]}, "02"),
    ({"text__in": []}, ""),
    ({"cache_key": "k1"}, "1"),
)


class RecordPromises(StoreContract):
    """Part of `MetadataBackendContract`."""

    def test_records_are_kept_exactly_and_selected_by_their_columns(
        self, backend: MetadataBackend
    ) -> None:
        if "records" not in backend.capabilities:
            with pytest.raises(ConfigError):
                list(_query(backend))
            return
        assert list(_query(backend)) == [], "also before the first record is kept"
        backend.put_entries(
            _with_record(record, f"k{number}", created_at=1000.0 + number)
            for number, record in enumerate(_RECORDS)
        )

        for filters, numbers in _QUERIES:
            expected = [(f"k{number}", _RECORDS[int(number)]) for number in numbers]
            assert list(_query(backend, **filters)) == expected, filters

    @pytest.mark.parametrize("removal", ["delete", "delete where", "put", "put with another"])
    def test_a_record_goes_with_its_entry(self, backend: MetadataBackend, removal: str) -> None:
        if "records" not in backend.capabilities:
            return
        backend.put_entry(_with_record(_RECORDS[0]))
        changes: dict[str, Callable[[], object]] = {
            "delete": lambda: backend.delete_entry("key"),
            "delete where": lambda: backend.delete_where(Filter()),
            "put": lambda: backend.put_entry(make_entry()),
            "put with another": lambda: backend.put_entry(_with_record(_RECORDS[1])),
        }

        changes[removal]()

        left = [("key", _RECORDS[1])] if removal == "put with another" else []
        assert list(_query(backend)) == left

    def test_a_record_stays_while_its_entry_does(self, backend: MetadataBackend) -> None:
        if "records" not in backend.capabilities:
            return
        put = _with_record(_RECORDS[0])
        backend.put_entry(put)

        backend.update_fields("key", {"description": "changed"})
        backend.touch_entries(Filter(), now=2000.0)
        backend.record_hits({"key": (1, 2000.0)})
        backend.put_entry(_with_record(_RECORDS[1]), if_absent=True)
        backend.update_fields("key", {"generation": make_entry().generation})

        assert list(_query(backend)) == [("key", _RECORDS[0])], (
            "only another custom_metadata, or another put, changes the record"
        )
        backend.update_fields("key", {"custom_metadata": typed_metadata(_RECORDS[1])})
        assert list(_query(backend)) == [("key", _RECORDS[1])]
        backend.update_fields("key", {"custom_metadata": {}})
        assert list(_query(backend)) == []

    def test_a_put_that_fails_keeps_no_record(self, backend: MetadataBackend) -> None:
        if not {"records", "transactions"} <= backend.capabilities:
            return

        def failing() -> Any:
            yield _with_record(_RECORDS[0])
            raise RuntimeError("the source failed")

        with pytest.raises(RuntimeError, match="the source failed"):
            backend.put_entries(failing())

        assert list(_query(backend)) == []


def _with_record(record: SuiteRecord, cache_key: str = "key", **fields: Any) -> Entry:
    return replace(make_entry(cache_key, **fields), custom_metadata=typed_metadata(record))


def _query(backend: MetadataBackend, **filters: Any) -> Any:
    return backend.query_records(parse_query(SuiteRecord, (), dict(filters)))
