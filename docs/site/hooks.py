# SPDX-License-Identifier: MIT
"""Lets the site show files of the repository that lie outside of docs/, READMEs among them.

The README is the site's first page. Any other file that a page links to is taken into the
site under ``files/``, and the links are turned accordingly, so that the same Markdown works
in the repository and in the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, and whatever pages link to outside of docs/."""
    waiting = ["README.md"]
    waiting += [f"docs/{file.src_uri}" for file in files if file.src_uri.endswith(".md")]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.startswith("docs/"):
            add(files, config, path)
        if path.endswith(".md"):
            new = {target for target in targets(path) if target not in seen}
            seen |= new
            waiting += sorted(new)
    return files


def add(files: Files, config: MkDocsConfig, path: str) -> None:
    """Take a file of the repository into the site."""
    files.append(File.generated(config, in_site(path), abs_src_path=str(ROOT / path)))


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn a page's links to files of the repository into links within the site."""
    here = in_repository(page.file.src_uri)

    def turned(match: re.Match[str]) -> str:
        if is_elsewhere(match[2]):
            return match[0]
        target = in_site(resolved(here, match[2]))
        relative = posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")
        return f"{match[1]}{relative}{match[3]}"

    return LINK.sub(turned, markdown)


def targets(path: str) -> list[str]:
    """The files that a page of the repository links to."""
    links = [match[2] for match in LINK.finditer((ROOT / path).read_text(encoding="utf-8"))]
    return [resolved(path, link) for link in links if not is_elsewhere(link)]


def is_elsewhere(link: str) -> bool:
    """Whether it leads out of the repository."""
    return "://" in link or link.startswith("mailto:")


def resolved(page: str, link: str) -> str:
    """The path in the repository that a link on a page means."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def in_site(path: str) -> str:
    """Where a file of the repository lies in the site."""
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}"


def in_repository(uri: str) -> str:
    """Where a page of the site lies in the repository."""
    if uri == "index.md":
        return "README.md"
    return uri.removeprefix("files/") if uri.startswith("files/") else f"docs/{uri}"
