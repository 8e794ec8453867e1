# SPDX-License-Identifier: MIT
"""What PostgreSQL's errors mean to a cache: try again, wait, or tell the user what to grant."""

from __future__ import annotations

from cacheness.errors import BackendUnavailableError, CachenessError, ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import psycopg

    from cacheness_postgres.address import Address

__all__ = [
    "IN_CONFLICT",
    "NOT_PREPARED",
    "NO_SCHEMA",
    "READ_ONLY",
    "STALE_PLAN",
    "missing_grant",
    "not_made_yet",
    "owner_needed",
    "unreachable",
    "unusable",
]

IN_CONFLICT = frozenset({"40001", "40P01", "23505"})
"""Two transactions got in each other's way, the last by the same key; this one is undone."""
NOT_PREPARED = frozenset({"26000", "42P05"})
"""A prepared statement is not where we left it: a pooler handed us another connection."""
STALE_PLAN = frozenset({"0A000"})
"""The table changed under a prepared statement."""
NO_SCHEMA = frozenset({"42P01", "3F000"})
"""The tables are gone."""
READ_ONLY = frozenset({"25006"})
"""A standby, or a server that takes no writes at the moment."""

_ROOM = "lower pool_size or raise max_connections"
_FULL = ("too many clients", "too many connections", "connection slots are reserved")
"""What a server says that has no connection left."""

_MEANINGS = {
    "25006": "the server takes no writes at the moment (a standby, or set read-only)",
    "53100": "the server's disk is full",
    "53200": "the server is out of memory",
    "53300": f"the server has no connection left; {_ROOM}",
    "55P03": "another client held a lock for longer than lock_timeout",
    "57014": "the statement was cancelled or took longer than the server's statement_timeout",
    "57P01": "the server is shutting down",
    "57P02": "the server crashed",
    "57P03": "the server is starting or shutting down",
}


def unusable(error: psycopg.Error, address: Address) -> CachenessError:
    """The error of the contract for one that a statement met."""
    told = address.without_secrets(str(error).strip())
    if error.sqlstate == "42501":
        return ConfigError(
            f"the role {address.user or 'in use'!r} may not do this on {address}: {told}; let the "
            "owner of the schema run GRANT USAGE ON SCHEMA …, GRANT SELECT, INSERT, UPDATE, "
            "DELETE ON ALL TABLES IN SCHEMA … and GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA … "
            "TO this role (to read, USAGE ON SCHEMA and SELECT are enough)"
        )
    meaning = _MEANINGS.get(error.sqlstate or "")
    return BackendUnavailableError(f"{address}: {f'{meaning}: {told}' if meaning else told}")


def unreachable(error: Exception, address: Address) -> CachenessError:
    """The error for a connection that could not be made.

    Raise it outside the handler of ``error``, whose frames know the password.
    """
    told = address.without_secrets(" ".join(str(error).split()))
    # Of a connection that was refused no SQLSTATE is known.
    full = any(words in told for words in _FULL)
    way = _ROOM if full else "check the server, the network and the URL"
    return BackendUnavailableError(f"{address} can't be reached: {told}; {way}")


def missing_grant(address: Address, schema: str, schema_exists: bool, told: str) -> ConfigError:
    """The error for a role that may not make the schema: names the one grant it lacks."""
    role, database = (
        _quoted(address.user or "the_role"),
        _quoted(address.database or "the_database"),
    )
    if schema_exists:
        grant = f"GRANT USAGE, CREATE ON SCHEMA {_quoted(schema)} TO {role}"
        instead = "GRANT SELECT, INSERT, UPDATE, DELETE on the tables in it, where they exist"
    else:
        grant = f"GRANT CREATE ON DATABASE {database} TO {role}"
        instead = (
            "have its owner run the output of: python -m cacheness_postgres.schema "
            f"{schema} --grant-to {role}"
        )
    return ConfigError(
        f"the role {role} may not make the tables of the cache in the schema {_quoted(schema)} of "
        f"{address} ({address.without_secrets(told.strip())}): let an administrator run "
        f"{grant}; or {instead}"
    )


def owner_needed(address: Address, schema: str, version: int, told: str) -> ConfigError:
    """The error for a role that may not bring tables of an older version forward."""
    return ConfigError(
        f"the tables in the schema {_quoted(schema)} of {address} are of version {version}, and "
        f"only their owner may bring them forward ({address.without_secrets(told.strip())}): let "
        "them open the cache once, or run the output of: "
        f"python -m cacheness_postgres.schema {schema} --from {version}"
    )


def not_made_yet(address: Address, schema: str) -> BackendUnavailableError:
    """The error for tables that are missing where this cache does not write."""
    return BackendUnavailableError(
        f"{address} has no cache in the schema {schema!r} yet, and this one is read-only: "
        "open it for writing once, or name another schema"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
