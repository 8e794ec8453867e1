# SPDX-License-Identifier: MIT
# ruff: noqa: S608  # what is put into SQL is a checked schema name; all values are bound
"""The tables of the cache: made on first use, and brought forward from older versions."""

from __future__ import annotations

import hashlib
import re
from uuid import uuid4

import psycopg

from cacheness.errors import ConfigError
from cacheness_postgres import failures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cacheness_postgres.address import Address
    from cacheness_postgres.session import Cursor, Session

__all__ = [
    "SCHEMA_VERSION",
    "advisory_key",
    "check_schema_name",
    "prepare_schema",
    "schema_sql",
]

_READABLE = 1
"""The oldest version that a cache which writes nothing can read as it is."""
SCHEMA_VERSION = 2
"""Raise it with a migration, and commit a dump of the version before for the tests."""

MIGRATIONS: dict[int, tuple[str, ...]] = {
    2: (
        *(
            f"CREATE INDEX entries_by_{name} ON {{schema}}.entries "
            f"USING gin ({name} jsonb_path_ops) WHERE {name} != '{empty}'::jsonb"
            for name, empty in (("params", "{{}}"), ("custom_metadata", "{{}}"), ("tags", "[]"))
        ),
        *(
            f"ALTER TABLE {{schema}}.entries ALTER COLUMN {name} SET DEFAULT {value}"
            for name, value in (
                ("prefix", "''"),
                ("description", "''"),
                ("handler_version", "1"),
                ("compressor", "'none'"),
                ("pinned", "false"),
                ("hits", "0"),
                ("tags", "'[]'"),
                ("custom_metadata", "'{{}}'"),
            )
        ),
        # Last, since readers wait from here on.
        "DROP INDEX IF EXISTS {schema}.entries_by_content",
    ),
}
"""Version → the statements that bring the tables there from the version before. In them
``{schema}`` stands for the quoted name. Clients of the version before go on running
meanwhile, so that only what they can live with is changed in place."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}", re.ASCII)


def check_schema_name(name: object) -> str:
    """Give the name back if it needs no quoting.

    Raises:
        ConfigError: It does.
    """
    if isinstance(name, str) and _NAME.fullmatch(name) and not name.startswith("pg_"):
        return name
    raise ConfigError(
        f"schema={name!r} is no name for the cache's schema: give up to 63 of a-z, 0-9 and _, "
        "not beginning with a digit or pg_"
    )


def advisory_key(*parts: str) -> int:
    """A signed 64-bit number for an advisory lock: equal parts, equal numbers, anywhere."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return int.from_bytes(digest.digest(), "little", signed=True)


def prepare_schema(session: Session, address: Address, schema: str, *, read_only: bool) -> None:
    """See that the tables are there in the version that we know.

    Whoever comes first makes them, under an advisory lock; all others wait for it.

    Raises:
        ConfigError: They are of a newer version, or the role may not make them.
        BackendUnavailableError: They are missing, and this cache or the server is read-only.
    """
    cursor = session.cursor
    version = 0
    try:
        version = _version(cursor, schema)
        if version < SCHEMA_VERSION and not read_only:
            with session.connection.transaction():
                cursor.execute(f"SELECT pg_advisory_xact_lock({advisory_key('schema', schema)})")
                version = _bring_forward(cursor, schema)
    except psycopg.errors.InsufficientPrivilege as error:
        if version:
            raise failures.owner_needed(address, schema, version, str(error)) from error
        raise failures.missing_grant(
            address, schema, _exists(cursor, schema), str(error)
        ) from error
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"the schema {schema!r} of {address} is of version {version}, and this "
            f"cacheness-postgres knows up to {SCHEMA_VERSION}: "
            "pip install -U cacheness-postgres, or name another schema"
        )
    if version < (_READABLE if read_only else SCHEMA_VERSION):
        raise failures.not_made_yet(address, schema)


def schema_sql(schema: str = "cacheness", *, grant_to: str | None = None) -> str:
    """The statements that make the tables, for an administrator to run beforehand.

    Args:
        schema: The schema's name.
        grant_to: A role that is to use the cache without owning it, quoted if need be.

    Example:
        >>> print(schema_sql().splitlines()[0])
        CREATE SCHEMA IF NOT EXISTS cacheness;
    """
    name = check_schema_name(schema)
    statements = [f"CREATE SCHEMA IF NOT EXISTS {name}", *_creation(name)]
    if grant_to is not None:
        statements += [
            f"GRANT USAGE ON SCHEMA {name} TO {grant_to}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {grant_to}",
            f"GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA {name} TO {grant_to}",
        ]
    return "".join(f"{statement};\n" for statement in statements)


def _version(cursor: Cursor, schema: str) -> int:
    # A query, where `to_regclass` would do: that one may answer from a catalogue cache which
    # has not heard yet of the tables that the last holder of the lock made.
    made = (
        "SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %b AND c.relname = 'settings')"
    )
    row = cursor.execute(made, (schema,)).fetchone()
    if row is None or not row[0]:
        return 0
    query = f"SELECT value FROM {schema}.settings WHERE name = 'version'"
    found = cursor.execute(query).fetchone()
    return int(found[0]) if found else 0


def _bring_forward(cursor: Cursor, schema: str) -> int:
    version = _version(cursor, schema)
    if version == 0:
        if not _exists(cursor, schema):
            cursor.execute(f"CREATE SCHEMA {schema}")
        for statement in _creation(schema):
            cursor.execute(statement)
        return SCHEMA_VERSION
    for statement in _migration(schema, version):
        cursor.execute(statement)
    return max(version, SCHEMA_VERSION)  # a newer client may have held the lock before us


def _migration(schema: str, version: int) -> Iterator[str]:
    """The statements that bring tables of a version forward to ours."""
    for later in range(version + 1, SCHEMA_VERSION + 1):
        for statement in MIGRATIONS[later]:
            yield statement.format(schema=schema)
        yield f"UPDATE {schema}.settings SET value = '{later}' WHERE name = 'version'"


def _exists(cursor: Cursor, schema: str) -> bool:
    query = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %b)"
    row = cursor.execute(query, (schema,)).fetchone()
    return bool(row and row[0])


def _creation(schema: str) -> Iterator[str]:
    from sqlalchemy.schema import CreateIndex, CreateTable

    from cacheness_postgres.tables import DIALECT, UNCOMPRESSED, tables

    made = tables(schema)
    yield f"CREATE SEQUENCE {schema}.added"
    for table in made.metadata.sorted_tables:
        yield str(CreateTable(table).compile(dialect=DIALECT)).strip()
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=DIALECT)).strip()
    for table_name, column in UNCOMPRESSED:
        yield f"ALTER TABLE {schema}.{table_name} ALTER COLUMN {column} SET STORAGE EXTERNAL"
    yield (
        f"INSERT INTO {schema}.settings (name, value) VALUES "
        f"('version', '{SCHEMA_VERSION}'), ('store_id', '{uuid4().hex}')"
    )


def _main(arguments: list[str]) -> int:
    import argparse
    import sys

    parser = argparse.ArgumentParser(
        prog="python -m cacheness_postgres.schema",
        description="Print the statements that make the tables of the cache.",
    )
    parser.add_argument("schema", nargs="?", default="cacheness")
    parser.add_argument("--grant-to", metavar="ROLE", help="a role that uses, but does not own it")
    parser.add_argument(
        "--from",
        dest="version",
        type=int,
        choices=range(1, SCHEMA_VERSION),
        help="only what brings tables of this version forward",
    )
    given = parser.parse_args(arguments)
    if given.version is None:
        sys.stdout.write(schema_sql(given.schema, grant_to=given.grant_to))
    else:
        statements = (
            "BEGIN",
            *_migration(check_schema_name(given.schema), given.version),
            "COMMIT",
        )
        sys.stdout.writelines(f"{statement};\n" for statement in statements)
    return 0


if __name__ == "__main__":
    import sys

    raise SystemExit(_main(sys.argv[1:]))
