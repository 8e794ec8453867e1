# SPDX-License-Identifier: MIT
"""How a time zone is written down, so that the very same kind of object comes back."""

from __future__ import annotations

import datetime as dt
import importlib
import re
import sys
import zoneinfo
from typing import Any

__all__ = ["arrow_zone", "pack_zone", "unpack_zone"]

_ZONE_NAME = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*")


def pack_zone(zone: dt.tzinfo) -> dict[str, Any] | None:
    """The zone as JSON, or None where only pickle keeps it.

    Covers ``datetime.timezone``, ``zoneinfo``, pytz and dateutil's named, fixed and
    UTC zones; not ``tzlocal``, whose meaning depends on the machine.
    """
    packed = _pack(zone)
    if packed is None:
        return None
    try:
        again = unpack_zone(packed)
    except (LookupError, OSError, ValueError, ImportError):
        return None
    return packed if type(again) is type(zone) and _same(again, zone) else None


def unpack_zone(packed: dict[str, Any]) -> dt.tzinfo:
    """The zone that `pack_zone` wrote down.

    Raises:
        ValueError: There is no such kind of zone, or its name is no zone's name.
        ImportError: The zone is pytz's or dateutil's, which is not installed.
    """
    kind = packed["zone"]
    if kind == "utc":
        return dt.UTC
    if kind == "offset":
        offset = dt.timedelta(microseconds=packed["microseconds"])
        return dt.timezone(offset, packed["name"]) if "name" in packed else dt.timezone(offset)
    if kind == "zoneinfo":
        return zoneinfo.ZoneInfo(_checked(packed["name"]))
    if kind.startswith("pytz"):
        return _unpack_pytz(packed)
    if kind.startswith("dateutil"):
        return _unpack_dateutil(packed)
    raise ValueError(f"{kind!r} is no kind of time zone")


def arrow_zone(packed: dict[str, Any]) -> str:
    """The zone's name for an Arrow type: one from the time zone database, else UTC.

    Fixed offsets count as UTC too, since not every reader of Arrow files knows them;
    the instants are the same.
    """
    name = packed.get("name", "UTC")
    return name if packed["zone"] in ("zoneinfo", "pytz", "dateutil") else "UTC"


def _pack(zone: dt.tzinfo) -> dict[str, Any] | None:
    if zone is dt.UTC:
        return {"zone": "utc"}
    if type(zone) is dt.timezone:
        return _pack_offset(zone)
    if type(zone) is zoneinfo.ZoneInfo:
        return {"zone": "zoneinfo", "name": zone.key} if zone.key else None
    module = type(zone).__module__
    if module.startswith("pytz"):
        return _pack_pytz(zone)
    if module.startswith("dateutil.tz"):
        return _pack_dateutil(zone)
    return None


def _pack_offset(zone: dt.timezone) -> dict[str, Any]:
    offset = zone.utcoffset(None)
    packed: dict[str, Any] = {
        "zone": "offset",
        "microseconds": offset // dt.timedelta(microseconds=1),
    }
    if zone.tzname(None) != dt.timezone(offset).tzname(None):
        packed["name"] = zone.tzname(None)
    return packed


def _pack_pytz(zone: Any) -> dict[str, Any] | None:
    if zone.zone is not None:
        return {"zone": "pytz", "name": zone.zone}
    offset = zone.utcoffset(None)
    return {"zone": "pytz_offset", "minutes": offset // dt.timedelta(minutes=1)}


def _unpack_pytz(packed: dict[str, Any]) -> dt.tzinfo:
    pytz: Any = importlib.import_module("pytz")
    zone: dt.tzinfo = (
        pytz.timezone(_checked(packed["name"]))
        if packed["zone"] == "pytz"
        else pytz.FixedOffset(packed["minutes"])
    )
    return zone


def _pack_dateutil(zone: Any) -> dict[str, Any] | None:
    kind = type(zone).__name__
    if kind == "tzutc":
        return {"zone": "dateutil_utc"}
    if kind == "tzoffset":
        seconds = zone.utcoffset(None) // dt.timedelta(seconds=1)
        return {"zone": "dateutil_offset", "seconds": seconds, "name": zone.tzname(None)}
    if kind == "tzfile":
        path = str(getattr(zone, "_filename", ""))
        return {"zone": "dateutil", "name": path.rpartition("zoneinfo/")[2]}
    return None


def _unpack_dateutil(packed: dict[str, Any]) -> dt.tzinfo:
    tz: Any = importlib.import_module("dateutil.tz")
    zone: dt.tzinfo | None
    if packed["zone"] == "dateutil_utc":
        zone = tz.tzutc()
    elif packed["zone"] == "dateutil_offset":
        zone = tz.tzoffset(packed["name"], packed["seconds"])
    else:
        zone = tz.gettz(_checked(packed["name"]))
    if zone is None:
        raise ValueError(f"dateutil knows no time zone {packed['name']!r}")
    return zone


def _checked(name: str) -> str:
    """The name, unless it could be a path out of the time zone database."""
    if not _ZONE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no time zone's name")
    return name


def _same(one: dt.tzinfo, other: dt.tzinfo) -> bool:
    """Whether two zones of one type are the same zone."""
    if type(one).__module__.startswith("pytz") and "pytz" in sys.modules:
        return str(one) == str(other)  # one zone has an object for each of its offsets
    if isinstance(one, zoneinfo.ZoneInfo) and isinstance(other, zoneinfo.ZoneInfo):
        return one.key == other.key
    return one == other and one.tzname(None) == other.tzname(None)
