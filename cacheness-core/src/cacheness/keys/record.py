# SPDX-License-Identifier: MIT
"""What an entry keeps of its key: enough to explain a miss and to name the call again."""

from __future__ import annotations

from cacheness.keys.encoding import encode_params, params_digest, part_digests
from cacheness.keys.summary import summarise_params

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from cacheness.keys.encoding import FunctionKey

__all__ = ["RecordedParams", "default_values", "record"]


class RecordedParams(dict[str, object]):
    """The parameters of a call, with what an entry keeps of them."""

    __slots__ = ("digest", "parts", "summary")

    digest: str
    """The digest of the function's code; empty where it does not count."""
    parts: dict[str, Any]
    """`Entry.key_parts`; what is as usual is left out. ``params`` is the digest of all
    parameters, which tells no more than the key does; ``arguments`` a short digest of each
    that is not secret; ``defaults`` the names of those that were left to their defaults; then
    ``key_prefix`` and ``version``."""
    summary: dict[str, Any]
    """`Entry.params`."""


def record(
    function_key: FunctionKey,
    digest: str,
    params: Mapping[str, object],
    defaults: Mapping[str, object],
    secret: Collection[str] = (),
) -> RecordedParams:
    """Take down what is kept of the parameters of a call.

    Args:
        function_key: What makes the function's keys.
        digest: The digest of its code.
        params: The parameters.
        defaults: What `default_values` gave for the function.
        secret: The names of parameters of which nothing is kept.

    Raises:
        UnhashableParameterError: One has no stable fingerprint.
    """
    pieces = encode_params(params)
    digests = part_digests(params, pieces)
    for name in secret:
        digests.pop(name, None)
    recorded = RecordedParams(params)
    recorded.digest = digest
    recorded.summary = summarise_params(params, secret, digests)
    parts: dict[str, Any] = {"params": params_digest(params, pieces)}
    recorded.parts = parts
    if digests:
        parts["arguments"] = digests
    taken = [name for name, value in defaults.items() if params.get(name, parts) is value]
    if taken:
        parts["defaults"] = taken
    if function_key.key_prefix:
        parts["key_prefix"] = function_key.key_prefix
    if function_key.version is not None:
        parts |= summarise_params({"version": function_key.version})
    return recorded


def default_values(function: Callable[..., Any]) -> dict[str, object]:
    """The defaults of a function's parameters, by name; of one in C that does not tell, none."""
    from inspect import Parameter, signature

    try:
        parameters = signature(function).parameters
    except ValueError:
        return {}
    return {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.default is not Parameter.empty
    }
