# SPDX-License-Identifier: MIT
"""Custom metadata of a class of one's own, kept in typed columns and queried by them.

A dataclass, or a model of SQLAlchemy, that is registered can be given as ``custom_metadata``:

    >>> @custom_metadata_model
    ... @dataclass
    ... class Run:
    ...     owner: str
    ...     lr: float
    ...     ended: datetime | None = None
    >>> cache.put(weights, custom_metadata=Run("me", 0.1), epoch=3)
    >>> cache.query_custom(Run, lr__lt=0.5)
    [('…', Run(owner='me', lr=0.1, ended=None))]

Every backend keeps the fields as the entry's ``custom_metadata``, a dict of JSON: bytes as
base64, a datetime in ISO format. One that declares the capability ``records`` also keeps
them in a table for each model, with a column for each field, from which `query_custom`
makes the instances again. The record lives and dies with its entry: it is written in the
same transaction, replaced or removed with it, and stays where the value is updated in place.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from math import isfinite
from re import fullmatch, sub
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from cacheness.errors import ConfigError

__all__ = [
    "RecordColumn",
    "RecordCondition",
    "RecordModel",
    "RecordQuery",
    "TypedMetadata",
    "custom_metadata_model",
    "model_of",
    "parse_query",
    "typed_metadata",
]

_C = TypeVar("_C", bound=type)

_TYPES = (str, int, float, bool, bytes, datetime)
_OURS = frozenset({"namespace", "cache_key", "generation"})
_OPERATORS = ("ne", "gt", "gte", "lt", "lte", "in", "contains", "startswith")
_LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class RecordColumn:
    """A field of a model, as a column."""

    name: str
    """The field's name."""
    kind: type
    """``str``, ``int``, ``float``, ``bool``, ``bytes`` or ``datetime``."""
    optional: bool
    """Whether None is allowed."""


@dataclass(frozen=True, slots=True)
class RecordModel:
    """A registered class."""

    name: str
    """What its table is called, after a prefix of the backend's."""
    cls: type
    """The class itself."""
    columns: tuple[RecordColumn, ...]
    """In the order of its fields."""

    def values(self, record: object) -> tuple[Any, ...]:
        """The values of an instance, in the order of the columns, checked.

        Raises:
            ConfigError: One is not of its column's type; the message names it.
        """
        return tuple(self.checked(column, getattr(record, column.name)) for column in self.columns)

    def checked(self, column: RecordColumn, value: Any) -> Any:
        """The value as it is stored: exactly, but for a datetime's zone, which becomes UTC."""
        if value is None and column.optional:
            return None
        kind = column.kind
        if kind is float and type(value) is not bool and isinstance(value, (int, float)):
            # An int, or a float of numpy's, as far as it is the same number.
            value = float(value) if float(value) == value else value
        if type(value) is not kind or not _fits(value):
            raise ConfigError(
                f"{self.name}.{column.name}={value!r} can't be kept: the column takes "
                f"{_ALLOWED[kind]}{' or None' if column.optional else ''}"
            )
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
        return value

    def instance(self, values: tuple[Any, ...]) -> Any:
        """The instance that had these values."""
        named = {column.name: of for column, of in zip(self.columns, values, strict=True)}
        if not is_dataclass(self.cls):
            return self.cls(**named)
        given = {of.name: named.pop(of.name) for of in fields(self.cls) if of.init}
        made = self.cls(**given)
        for name, value in named.items():
            object.__setattr__(made, name, value)
        return made


class TypedMetadata(dict[str, Any]):
    """The fields of a record as the JSON of `Entry.custom_metadata`, with the record.

    A backend that declares ``records`` looks for it in the entries that it is given.
    """

    __slots__ = ("model", "values_of_record")

    def __init__(self, model: RecordModel, values: tuple[Any, ...]) -> None:
        super().__init__(
            (column.name, _json(value)) for column, value in zip(model.columns, values, strict=True)
        )
        self.model = model
        self.values_of_record = values

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.model.name, self.values_of_record)


@dataclass(frozen=True, slots=True)
class RecordCondition:
    """One comparison with a column."""

    column: RecordColumn
    """What to compare."""
    operator: str
    """``eq``, or one of the suffixes of filters."""
    value: Any
    """What to compare with, checked like a stored one; a tuple of such for ``in``."""


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """What `query_custom` asks a backend for."""

    model: RecordModel
    """Of which model."""
    conditions: tuple[RecordCondition, ...]
    """All have to hold."""
    where: tuple[Any, ...] = ()
    """Conditions of SQLAlchemy, about the table that is called like the model."""
    cache_key: str | None = None
    """Of which entry only."""


_models: dict[str, RecordModel] = {}
_by_class: dict[type, RecordModel] = {}


def custom_metadata_model(cls: _C, /) -> _C:
    """Register a dataclass, or a model of SQLAlchemy, for use as ``custom_metadata``.

    Its table is called like the class in snake case, or like its ``__tablename__``.
    Registering a class of the same module and name again replaces it, as when a notebook's
    cell is run again.

    Raises:
        ConfigError: A field is of a type that has no column, or the name is taken.
    """
    if not isinstance(cls, type):
        raise ConfigError(
            f"custom_metadata_model takes a class, not {cls!r}: write @custom_metadata_model "
            "above @dataclass, without arguments"
        )
    columns = _table_columns(cls) if hasattr(cls, "__table__") else _dataclass_columns(cls)
    name = getattr(cls, "__tablename__", None) or _snake_case(cls.__name__)
    _check_names(name, columns)
    other = _models.get(name)
    if other is not None and _full_name(other.cls) != _full_name(cls):
        raise ConfigError(
            f"{_full_name(other.cls)} is already registered as {name!r}: give "
            f"{_full_name(cls)} another __tablename__"
        )
    if other is not None:
        _by_class.pop(other.cls, None)
    _models[name] = _by_class[cls] = RecordModel(name, cls, columns)
    return cls


def model_of(cls: object) -> RecordModel:
    """The model of a registered class.

    Raises:
        ConfigError: It is not registered.
    """
    model = _by_class.get(cls) if isinstance(cls, type) else None
    if model is None:
        raise ConfigError(
            f"{getattr(cls, '__qualname__', cls)!r} is no model of custom metadata: decorate the "
            "class with @custom_metadata_model"
        )
    return model


def typed_metadata(record: object) -> TypedMetadata:
    """An instance of a registered class as custom metadata.

    Raises:
        ConfigError: Its class is not registered, or a field can't be kept.
    """
    model = _by_class.get(type(record))
    if model is None:
        raise ConfigError(
            f"custom_metadata={type(record).__qualname__}(…) is neither a mapping nor of a "
            "registered class: decorate the class with @custom_metadata_model"
        )
    return TypedMetadata(model, model.values(record))


def parse_query(cls: object, where: tuple[Any, ...], filters: dict[str, Any]) -> RecordQuery:
    """What `query_custom` is asked for.

    Raises:
        ConfigError: The class is not registered, or a value is not of its column's type.
        TypeError: A filter names no field.
    """
    model = model_of(cls)
    cache_key = filters.pop("cache_key", None)
    conditions = tuple(_condition(model, name, value) for name, value in filters.items())
    return RecordQuery(model, conditions, where, cache_key)


# --- registering --------------------------------------------------------------------------


def _dataclass_columns(cls: type) -> tuple[RecordColumn, ...]:
    if not is_dataclass(cls):
        raise ConfigError(
            f"{cls.__qualname__} is neither a dataclass nor a model of SQLAlchemy: decorate it "
            "with @dataclass first"
        )
    hints = get_type_hints(cls)
    columns = []
    for of in fields(cls):
        kinds = [hints[of.name]]
        if get_origin(hints[of.name]) in (Union, UnionType):
            kinds = list(get_args(hints[of.name]))
        optional = NoneType in kinds
        columns.append(_column(cls, of.name, [k for k in kinds if k is not NoneType], optional))
    return tuple(columns)


def _table_columns(cls: type) -> tuple[RecordColumn, ...]:
    table: Any = cls.__table__  # type: ignore[attr-defined]  # the caller looked
    columns = []
    for column in table.columns:
        try:
            kind: object = column.type.python_type
        except NotImplementedError:
            kind = column.type
        # A primary key is the database's to number, in a table of its own.
        optional = bool(column.nullable or column.primary_key)
        columns.append(_column(cls, column.key, [kind], optional))
    return tuple(columns)


def _column(cls: type, name: str, kinds: list[Any], optional: bool) -> RecordColumn:
    if len(kinds) != 1 or kinds[0] not in _TYPES:
        raise ConfigError(
            f"{cls.__qualname__}.{name} has no column: a field is a str, int, float, bool, bytes "
            "or datetime, or one of them or None"
        )
    return RecordColumn(name, kinds[0], optional)


def _check_names(name: str, columns: tuple[RecordColumn, ...]) -> None:
    for one in (name, *(column.name for column in columns)):
        if not fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,50}", one) or one.lower() in _OURS:
            raise ConfigError(
                f"{one!r} can't name a table or a column of custom metadata: give up to 51 ASCII "
                f"letters, digits and underscores, and none of {', '.join(sorted(_OURS))}"
            )
    lowered = [column.name.lower() for column in columns]
    if not columns or len(set(lowered)) != len(lowered):
        raise ConfigError(f"{name!r} needs fields whose names differ by more than case")


def _snake_case(name: str) -> str:
    return sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# --- values -------------------------------------------------------------------------------

_ALLOWED: dict[type, str] = {
    str: "a str without NUL",
    int: "an int of 64 bits",
    float: "a finite float",
    bool: "a bool",
    bytes: "bytes",
    datetime: "a datetime",
}


def _fits(value: Any) -> bool:
    if type(value) is str:
        return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
    if type(value) is int:
        return -_LARGEST <= value < _LARGEST
    return type(value) is not float or isfinite(value)


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime) else value


def _condition(model: RecordModel, name: str, value: Any) -> RecordCondition:
    columns = {column.name: column for column in model.columns}
    bare, _, suffix = name.rpartition("__")
    operator = "eq"
    if name not in columns and suffix in _OPERATORS:
        name, operator = bare, suffix
    column = columns.get(name)
    if column is None:
        raise TypeError(
            f"{model.name} has no field {name!r} to select by; there are: {', '.join(columns)}"
        )
    if operator in ("contains", "startswith") and column.kind is not str:
        raise TypeError(f"{model.name}.{name} is no text: __{operator} is for str")
    # None may be asked for, whether or not it can be there.
    anything = RecordColumn(column.name, column.kind, optional=True)
    if operator == "in":
        return RecordCondition(column, operator, tuple(model.checked(anything, v) for v in value))
    return RecordCondition(column, operator, model.checked(anything, value))


def _restore(name: str, values: tuple[Any, ...]) -> TypedMetadata:
    return TypedMetadata(_models[name], values)
