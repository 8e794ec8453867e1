# SPDX-License-Identifier: MIT
"""Where the server is: a connection URL whose password never shows."""

from __future__ import annotations

import os
import re

from cacheness.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cacheness.backends.base import BackendContext

__all__ = ["Address", "find_url"]

_DEFAULTS: dict[str, str | int] = {
    "application_name": "cacheness",
    "connect_timeout": 10,
    # A peer that vanished without a word (power, cable, NAT) is noticed in half a minute
    # instead of the system's two hours.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_SCHEME = re.compile(r"^postgres(?:ql)?(?:\+psycopg)?://")
_SECRET = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key"})


def find_url(context: BackendContext, options: Mapping[str, Any]) -> str:
    """The URL among a backend's options, else the metadata backend's, else the environment's.

    Raises:
        ConfigError: None is given anywhere.
    """
    config = context.config
    shared = config.metadata_options if config.metadata_backend == "postgres" else {}
    for url in (options.get("url"), shared.get("url"), os.environ.get("CACHENESS_POSTGRES_URL")):
        if url:
            return str(url)
    raise ConfigError(
        "the postgres backend needs to know its server: give "
        "metadata_options={'url': 'postgresql://user@host/database'} or set CACHENESS_POSTGRES_URL"
    )


class Address:
    """A server, a database and a role. Equal addresses share their connections.

    Only `parameters` knows the password; ``repr``, ``str`` and every message do not.
    """

    __slots__ = ("_key", "_secrets", "database", "label", "parameters", "user")

    def __init__(self, url: str) -> None:
        """Take a URL or a ``name=value`` string, as libpq does.

        ``postgresql+psycopg://``, as SQLAlchemy writes it, is understood too.

        Raises:
            ConfigError: It can't be understood; the message repeats no part of it, since
                a password with unescaped characters may turn up in any.
        """
        given = _parse(_SCHEME.sub("postgresql://", url))
        if given is None or not _is_sound(given):
            raise ConfigError(
                "the PostgreSQL URL can't be understood: write "
                "postgresql://user:password@host:5432/database, with every character of the "
                "password but letters, digits and -._~ as %XX (urllib.parse.quote does it)"
            )
        self.parameters: dict[str, Any] = {**_DEFAULTS, **given}
        self.user = str(given.get("user", ""))
        self.database = str(given.get("dbname", self.user))
        self.label = _label(given)
        self._key = frozenset((name, str(value)) for name, value in self.parameters.items())
        secrets = {str(given[name]) for name in _SECRET if given.get(name)}
        self._secrets = sorted(secrets | {os.environ.get("PGPASSWORD", "")} - {""}, key=len)

    def without_secrets(self, text: str) -> str:
        """The text with every password in it blotted out."""
        for secret in reversed(self._secrets):
            text = text.replace(secret, "…")
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return self.label

    def __reduce__(self) -> str:
        raise TypeError("an address holds a password and is not pickled; pickle the configuration")


def _parse(url: str) -> dict[str, Any] | None:
    """Libpq's own reading, or None: its complaint may quote the password."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        return conninfo_to_dict(url)
    except (ProgrammingError, UnicodeError):
        return None


def _is_sound(given: Mapping[str, Any]) -> bool:
    """Whether the parts look like what they are called, not like pieces of a password."""
    ports = str(given.get("port", "")).split(",")
    hosts = str(given.get("host", ""))
    odd = set("@:?#") if not hosts.startswith(("/", "@")) and "::" not in hosts else set("?#")
    return all(port.isdigit() or not port for port in ports) and not odd & set(hosts.lstrip("@"))


def _label(given: Mapping[str, Any]) -> str:
    """The URL for messages: no password, no options."""
    user = f"{given['user']}@" if given.get("user") else ""
    port = f":{given['port']}" if given.get("port") else ""
    host = given.get("host") or given.get("hostaddr") or ""
    database = given.get("dbname", "")
    if host.startswith(("/", "@")):
        return f"postgresql://{user}{port}/{database}?host={host}"
    return f"postgresql://{user}{host}{port}/{database}"
