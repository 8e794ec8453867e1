# SPDX-License-Identifier: MIT
"""The handler of modules with compiled functions, by TensorFlow's SavedModel format."""

from __future__ import annotations

import mmap
import os
import weakref
from typing import TYPE_CHECKING

from cacheness.disk.scratch import new_directory, private_directory, remove_directory
from cacheness.errors import CannotHandleError, SerializationError, UnhashableParameterError
from cacheness.handlers.base import Handler
from cacheness_tensorflow.tarball import TarWriter, read_manifest, slice_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Update

__all__ = ["SavedModelHandler"]


class SavedModelHandler(Handler):
    """`tf.Module` objects that have a `tf.function`, and what `tf.saved_model.load` gave.

    What comes back is what `tf.saved_model.load` gives: the variables, the functions with the
    signatures that were traced, and the assets, in an object that has no other methods. A
    function that was never called and has no ``input_signature`` would be lost, so it is
    refused; modules without functions are left to pickle.

    The payload is the SavedModel directory as an uncompressed tar, which
    ``tar -xf`` makes a directory again for TensorFlow Serving or `tf.saved_model.load`. The option
    ``{"signatures": …}`` on put is handed to `tf.saved_model.save`.
    """

    name = "tensorflow_saved_model"
    extension = ".tar"

    def can_handle(self, obj: object) -> bool:
        import keras
        import tensorflow as tf

        if isinstance(obj, (keras.layers.Layer, keras.optimizers.Optimizer)):
            return False
        return isinstance(obj, tf.Module) or type(obj).__name__ == "_UserObject"

    def put_with(self, obj: Any, file_path: str, context: HandlerContext) -> dict[str, Any]:
        import tensorflow as tf

        _require_functions(obj)
        with private_directory() as directory:
            tf.saved_model.save(obj, directory, context.options.get("signatures"))
            with open(file_path, "wb") as file:
                tar = TarWriter(file)
                files = [
                    [name, tar.add_file(name, os.path.join(directory, name))]
                    for name in sorted(_files_under(directory))
                ]
                return {"manifest": tar.finish({"files": files})}

    def get_with(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        import tensorflow as tf

        directory, pid = new_directory(), os.getpid()
        try:
            _extract(file_path, metadata["manifest"], directory)
            loaded = tf.saved_model.load(directory)
        except BaseException:
            remove_directory(pid, directory)
            raise
        # Assets stay files, which their object names by path; all else is in memory.
        if os.listdir(os.path.join(directory, "assets")):
            weakref.finalize(loaded, remove_directory, pid, directory)
        else:
            remove_directory(pid, directory)
        return loaded

    def fingerprint(self, obj: Any, update: Update) -> None:
        """Feed nothing: what functions do, their fingerprint could not tell.

        Raises:
            UnhashableParameterError: Always; the message says what to do.
        """
        raise UnhashableParameterError(
            "a tf.Module holds functions, whose graphs have no stable fingerprint; pass what "
            "it was made of, or its variables, or leave it out with ignore="
        )

    def describe(self, obj: Any) -> str:
        return f"{type(obj).__name__} with {', '.join(sorted(_functions(obj)))}"


def _require_functions(module: Any) -> None:
    functions = _functions(module)
    if not functions:
        raise CannotHandleError(
            "a SavedModel keeps functions and variables, and it has no functions"
        )
    for name, function in functions.items():
        if function.input_signature is None and not function.experimental_get_tracing_count():
            raise SerializationError(
                f"{type(module).__name__}.{name} was never called, so there is no graph of it "
                "to store; call it once, or give its tf.function an input_signature"
            )


def _functions(module: Any) -> dict[str, Any]:
    """The `tf.function` attributes of a module, by name."""
    import tensorflow as tf

    kind = tf.types.experimental.PolymorphicFunction
    names = {*vars(module), *(name for base in type(module).__mro__ for name in vars(base))}
    found = {
        name: getattr(module, name, None)
        for name in names
        if not isinstance(getattr(type(module), name, None), property)
    }
    return {name: value for name, value in found.items() if isinstance(value, kind)}


def _files_under(directory: str) -> Iterator[str]:
    """The paths of all files, relative, with forward slashes."""
    for where, _, names in os.walk(directory):
        for name in names:
            yield os.path.relpath(os.path.join(where, name), directory).replace(os.sep, "/")


def _extract(file_path: str, span: object, directory: str) -> None:
    """Write the files that a tar's manifest names into a new private directory.

    Only what the manifest says is a file becomes one: links, devices and
    owners in the tar's own headers are never looked at.

    Raises:
        ValueError: The manifest is malformed, or a name leads out of the directory.
    """
    for standard in ("assets", "variables"):
        os.mkdir(os.path.join(directory, standard))
    with (
        open(file_path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as map_,
        memoryview(map_) as tar,
    ):
        for name, where in read_manifest(tar, span)["files"]:
            target = os.path.join(directory, *_safe_parts(name))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "xb") as copy, slice_of(tar, where) as data:
                copy.write(data)


def _safe_parts(name: object) -> list[str]:
    """The parts of a relative path that stays below where it starts.

    Raises:
        ValueError: It does not.
    """
    if not isinstance(name, str) or "\\" in name or ":" in name or "\0" in name:
        raise ValueError(f"not the name of a SavedModel's file: {name!r}")
    parts = name.split("/")
    if not all(parts) or any(part in (".", "..") for part in parts):
        raise ValueError(f"not the name of a SavedModel's file: {name!r}")
    return parts
