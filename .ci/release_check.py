# SPDX-License-Identifier: MIT
"""Checks that built releases hold what they should and nothing else; sets the version.

python .ci/release_check.py dist
python .ci/release_check.py --set-version 0.2.0
"""

from __future__ import annotations

import re
import sys
import tarfile
import tomllib
import zipfile
from datetime import UTC, datetime
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "cacheness-core": "cacheness",
    "cacheness-pandas": "cacheness_pandas",
    "cacheness-postgres": "cacheness_postgres",
    "cacheness-tensorflow": "cacheness_tensorflow",
}
IN_SDIST = {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}


def problems(folder: Path) -> Iterator[str]:
    """What is wrong with the releases in a folder."""
    yield from version_problems()
    for name, package in PACKAGES.items():
        stem = f"{name.replace('-', '_')}-{version_of(ROOT)}"
        wheel, sdist = folder / f"{stem}-py3-none-any.whl", folder / f"{stem}.tar.gz"
        yield from wheel_problems(wheel, ROOT / name / "src", package)
        yield from sdist_problems(sdist, stem)


def wheel_problems(path: Path, source: Path, package: str) -> Iterator[str]:
    """What is wrong with one wheel."""
    if not path.is_file():
        yield f"{path.name} is not there"
        return
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        held = {name for name in names if ".dist-info/" not in name}
        metadata = Parser().parsestr(
            wheel.read(next(n for n in names if n.endswith("/METADATA"))).decode()
        )
    expected = {
        file.relative_to(source).as_posix()
        for file in source.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    yield from (f"{path.name} holds {name}, which is no source" for name in sorted(held - expected))
    yield from (f"{path.name} lacks {name}" for name in sorted(expected - held))
    if f"{package}/py.typed" not in held:
        yield f"{path.name} has no py.typed"
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        yield f"{path.name} has no LICENSE"
    required = metadata.get_all("Requires-Dist", [])
    yield from (f"{path.name} requires an address: {one}" for one in required if "://" in one)
    if not str(metadata.get_payload()).strip():
        yield f"{path.name} has no README"


def sdist_problems(path: Path, stem: str) -> Iterator[str]:
    """What is wrong with one source distribution."""
    if not path.is_file():
        yield f"{path.name} is not there"
        return
    with tarfile.open(path) as sdist:
        names = {member.name.removeprefix(f"{stem}/") for member in sdist if member.isfile()}
    strange = {name for name in names if name not in IN_SDIST and not name.startswith("src/")}
    yield from (f"{path.name} holds {name}" for name in sorted(strange))
    if "LICENSE" not in names:
        yield f"{path.name} has no LICENSE"


def version_problems() -> Iterator[str]:
    """Where the version is not the one of the workspace."""
    version = version_of(ROOT)
    for name in PACKAGES:
        if version_of(ROOT / name) != version:
            yield f"{name} has version {version_of(ROOT / name)}, the workspace {version}"
        needed = re.findall(
            r'"cacheness-core>=([^"]+)"', (ROOT / name / "pyproject.toml").read_text()
        )
        if name != "cacheness-core" and needed != [version]:
            yield f"{name} asks for cacheness-core>={', '.join(needed)}, the workspace is {version}"
        if (ROOT / name / "LICENSE").read_text() != (ROOT / "LICENSE").read_text():
            yield f"{name}/LICENSE differs from LICENSE"
    if f"## [{version}]" not in (ROOT / "CHANGELOG.md").read_text():
        yield f"CHANGELOG.md has no section [{version}]"


def version_of(folder: Path) -> str:
    """The version that a project names."""
    return str(tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"])


def set_version(version: str) -> None:
    """Write a version wherever one stands, and date the changes that it brings."""
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        sys.exit(f"{version!r} is no version: give one such as 0.2.0 or 0.2.0rc1")
    for folder in (ROOT, *(ROOT / name for name in PACKAGES)):
        path = folder / "pyproject.toml"
        text = re.sub(
            r'(?m)^version = "[^"]+"', f'version = "{version}"', path.read_text(), count=1
        )
        path.write_text(re.sub(r'"cacheness-core>=[^"]+"', f'"cacheness-core>={version}"', text))
    changes = ROOT / "CHANGELOG.md"
    dated = f"## [{version}] - {datetime.now(UTC):%Y-%m-%d}"
    if f"## [{version}]" in changes.read_text():
        text = re.sub(rf"(?m)^## \[{re.escape(version)}\].*$", dated, changes.read_text())
    else:
        text = changes.read_text().replace("## [Unreleased]\n", f"## [Unreleased]\n\n{dated}\n", 1)
    changes.write_text(text)


def main() -> None:
    """Do what the arguments say."""
    if sys.argv[1:2] == ["--set-version"]:
        set_version(sys.argv[2])
        return
    found = list(problems(Path(sys.argv[1])))
    sys.exit("\n".join(found) or None)


if __name__ == "__main__":
    main()
