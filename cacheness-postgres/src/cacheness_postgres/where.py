# SPDX-License-Identifier: MIT
"""Conditions that were written with SQLAlchemy, as text for psycopg."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import ColumnElement, Integer, and_, literal_column
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.schema import Column
from sqlalchemy.sql.visitors import replacement_traverse

from cacheness.errors import BackendUnavailableError, ConfigError
from cacheness_postgres.rows import TIMES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["as_text", "asking", "shifted"]

_NAME = re.compile(r"%\((\w+)\)s")
_OF_THE_CONDITION = ("22", "42")
"""Classes of errors that say that a statement makes no sense, or not on these values."""


def _make_dialect() -> PGDialect_psycopg:
    """As SQLAlchemy's, but that an int is not said to be of 32 bits: our columns have 64."""
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy gives it none
    specs = dialect.colspecs.items()
    dialect.colspecs = {kind: spec for kind, spec in specs if kind is not Integer}
    return dialect


_dialect = _make_dialect()


def as_text(expression: object, prefix: str) -> tuple[str, dict[str, Any]]:
    """The condition's text and its values, whose names get the prefix.

    Raises:
        TypeError: It is no condition of SQLAlchemy's.
        ConfigError: It has no form in PostgreSQL.
    """
    try:
        done = and_(expression).compile(  # type: ignore[arg-type]  # what it is, is found out here
            dialect=_dialect, compile_kwargs={"render_postcompile": True}
        )
    except ArgumentError:
        raise TypeError(f"{expression!r} is no condition of SQLAlchemy") from None
    except SQLAlchemyError as error:
        raise ConfigError(f"where={expression} has no form in PostgreSQL: {error}") from error
    text = _NAME.sub(rf"%({prefix}\1)s", str(done))
    return text, {f"{prefix}{name}": value for name, value in done.params.items()}


def shifted(expression: ColumnElement[Any], distance: float) -> ColumnElement[Any]:
    """The condition on ``entries`` with the times in it by this machine's clock."""
    if not distance:
        return expression

    def replaced(element: Any, **_: object) -> Any:
        if isinstance(element, Column) and element.name in TIMES:
            return literal_column(f"(entries.{element.name} - {distance!r})", element.type)
        return None

    found: ColumnElement[Any] = replacement_traverse(expression, {}, replaced)
    return found


@contextmanager
def asking(expression: object) -> Iterator[None]:
    """Tell whoever wrote the condition that the server can't make sense of it.

    Raises:
        ConfigError: That is so.
    """
    try:
        yield
    except BackendUnavailableError as error:
        cause = error.__cause__
        state = cause.sqlstate if isinstance(cause, psycopg.Error) else None
        if state is None or not state.startswith(_OF_THE_CONDITION):
            raise
        told = str(cause).strip().splitlines()[0]
        raise ConfigError(f"where={expression} can't be evaluated: {told}") from error
