"""A file to import may be anything: nothing in it leads anywhere, and half of it is none of it."""

import io
import json
import os
import tarfile
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheness import (
    BlobCorruptedError,
    CachenessWarning,
    ConfigError,
    CorruptionWarning,
    SecurityWarning,
    UnifiedCache,
)
from cacheness.transfer.export_file import ExportReader

SECRET = b"a signing key of this test"


@pytest.fixture
def target(tmp_path):
    with UnifiedCache(tmp_path / "target", signing_key=SECRET) as cache:
        yield cache


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of an export of three entries."""
    folder = tmp_path_factory.mktemp("good")
    with UnifiedCache(folder / "source", signing_key=SECRET) as source:
        source.put(np.arange(9_000), "array")
        source.put([1, 2], "json")
        source.put({1}, "pickled")
        source.export(folder / "good.tar")
    return (folder / "good.tar").read_bytes()


def members_of(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return [(info, tar.extractfile(info).read()) for info in tar]


def tar_of(members, end=bytes(1024)):
    """A tar of (TarInfo, content) pairs, written by hand."""
    out = b""
    for info, content in members:
        out += info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)
    return out + end


def lines_of(members):
    return [json.loads(line) for line in members[-1][1].splitlines()]


def with_lines(members, lines):
    """The same members with another manifest; a line may be bytes."""
    raw = b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
    )
    info = tarfile.TarInfo("manifest.jsonl")
    info.size = len(raw)
    return [*members[:-1], (info, raw)]


def everything_outside(tmp_path):
    return sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(tmp_path)
        for name in names
        if "target" not in os.path.relpath(folder, tmp_path).split(os.sep)
    )


def refuse(tmp_path, target, content, error=BlobCorruptedError):
    """Importing it raises, stores nothing, and writes nothing anywhere."""
    path = tmp_path / "hostile.tar"
    path.write_bytes(content)
    before = everything_outside(tmp_path)
    with pytest.raises(error) as caught:
        target.import_(path)
    assert len(target) == 0
    assert list(target.engine.blobs().iter_blobs()) == []
    assert everything_outside(tmp_path) == before
    return str(caught.value)


def test_the_good_one_is_good(tmp_path, target, good):
    (tmp_path / "good.tar").write_bytes(tar_of(members_of(good)))

    assert target.import_(tmp_path / "good.tar") == 3
    assert target["pickled"] == {1}


def test_cut_off_anywhere_nothing_of_it_is_imported(tmp_path, target, good):
    for length in range(0, len(good), 512):
        refuse(tmp_path, target, good[:length])
    for length in (1, 511, len(good) - 1, len(good) - 513):
        refuse(tmp_path, target, good[:length])


def test_bytes_behind_the_end_are_refused(tmp_path, target, good):
    refuse(tmp_path, target, good + b"x")
    refuse(tmp_path, target, good + bytes(1 << 17))
    (tmp_path / "padded.tar").write_bytes(good + bytes(10240 - len(good) % 10240))
    assert target.import_(tmp_path / "padded.tar") == 3, "as tar pads it"


@pytest.mark.parametrize(
    "name",
    [
        "../../evil",
        "/etc/cron.d/evil",
        "payloads/../../evil",
        "payloads/000000001.npy",
        "payloads/00000000.npy",
        "payloads/000000000.NPY",
        "payloads/000000000.npy/x",
        "payloads/000000000.a.b.c.d",
        "payloads\\000000000.npy",
        "payloads/\N{ARABIC-INDIC DIGIT ZERO}00000000",
        "manifest.jsonl",
        "cacheness-export.json",
        "",
    ],
)
def test_a_member_of_another_name_is_refused(tmp_path, target, good, name):
    members = members_of(good)
    members[1][0].name = name

    refuse(tmp_path, target, tar_of(members))


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.DIRTYPE,
        tarfile.FIFOTYPE,
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
    ],
)
@pytest.mark.parametrize("which", [0, 1, 3, 4])
def test_a_member_that_is_no_file_is_refused(tmp_path, target, good, kind, which):
    members = members_of(good)
    members[which][0].type = kind
    members[which][0].linkname = "/etc/passwd" if kind in (b"1", b"2") else ""

    refuse(tmp_path, target, tar_of(members))


def test_members_twice_in_another_order_or_missing_are_refused(tmp_path, target, good):
    head, one, two, three, manifest = members_of(good)

    for members in (
        [head, one, one, two, three, manifest],
        [head, two, one, three, manifest],
        [head, one, two, manifest],
        [head, one, two, three],
        [head, one, two, three, manifest, manifest],
        [head, one, two, three, manifest, three],
        [one, two, three, manifest],
        [head, head, one, two, three, manifest],
        [head, manifest, one, two, three],
        [manifest],
        [],
    ):
        refuse(tmp_path, target, tar_of(members))


@pytest.mark.parametrize("size", [10**6, 2**33, 2**62, 2**80, -1, -(2**40)])
@pytest.mark.parametrize("which", [0, 1, 2, 4])
def test_a_lying_size_is_refused_and_exhausts_nothing(tmp_path, target, good, size, which):
    members = members_of(good)
    members[which][0].size = size
    content = tar_of(members)

    tracemalloc.start()
    refuse(tmp_path, target, content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


@pytest.mark.parametrize("size", [0, 1, 71_999, 10**15, 2**63, -1, 1.5, "9", None, True])
def test_a_manifest_that_states_another_size_is_refused(tmp_path, target, good, size):
    members = members_of(good)
    lines = lines_of(members)
    lines[0]["stored_bytes"] = size

    refuse(tmp_path, target, tar_of(with_lines(members, lines)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cache_key", ""),
        ("cache_key", "a\0b"),
        ("cache_key", "x" * 513),
        ("cache_key", 1),
        ("cache_key", None),
        ("cache_key", "\ud800"),
        ("namespace", 1),
        ("generation", -1),
        ("generation", 2**63),
        ("generation", "1"),
        ("handler", ["json"]),
        ("handler", "json\0"),
        ("handler", "\ud800"),
        ("handler_version", 2**70),
        ("handler_version", True),
        ("metadata", []),
        ("metadata", "{}"),
        ("params", None),
        ("tags", "abc"),
        ("tags", [1]),
        ("tags", [["a"]]),
        ("created_at", "yesterday"),
        ("created_at", float("nan")),
        ("created_at", float("inf")),
        ("created_at", 10**400),
        ("expires_at", True),
        ("pinned", 1),
        ("hits", -5),
        ("custom_metadata", [1]),
        ("signature", 5),
        ("checksum", None),
        ("inline", "aGk="),
        ("blob", "ab/" + "0" * 32),
        ("blob", None),
        ("blob_store", "x"),
        ("cost_seconds", {}),
        ("payload", "payloads/000000000.npy"),
        ("payload", "../../x"),
        ("payload", None),
        ("payload", ["payloads/000000001"]),
        ("__class__", "x"),
        ("unknown", 1),
    ],
)
def test_a_field_that_is_not_what_it_has_to_be_is_refused(tmp_path, target, good, field, value):
    members = members_of(good)
    lines = lines_of(members)
    lines[1][field] = value

    refuse(tmp_path, target, tar_of(with_lines(members, lines)))


@pytest.mark.parametrize("field", ["cache_key", "namespace", "generation", "payload"])
def test_a_field_that_an_entry_is_nothing_without_is_missed(tmp_path, target, good, field):
    members = members_of(good)
    lines = lines_of(members)
    del lines[2][field]

    refuse(tmp_path, target, tar_of(with_lines(members, lines)))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"cache_key": ' + b"9" * 10_000 + b"}",
        b'{"payload": "payloads/000000001", "cache_key": "k", "namespace": "", "generation": 1, '
        b'"stored_bytes": 5, "params": ' + b'{"a":' * 150 + b"1" + b"}" * 150 + b"}",
    ],
)
def test_a_line_that_is_no_entry_is_refused(tmp_path, target, good, line):
    members = members_of(good)
    lines = lines_of(members)

    refuse(tmp_path, target, tar_of(with_lines(members, [lines[0], line, lines[2]])))


def test_more_or_fewer_lines_than_payloads_are_refused(tmp_path, target, good):
    members = members_of(good)
    lines = lines_of(members)

    for some in (lines[:2], [*lines, lines[0]], []):
        refuse(tmp_path, target, tar_of(with_lines(members, some)))
    info, raw = members[-1]
    info.size -= 1
    refuse(tmp_path, target, tar_of([*members[:-1], (info, raw[:-1])]))


@pytest.mark.slow
def test_a_line_without_end_is_not_read_into_memory(tmp_path, target, good):
    members = members_of(good)
    content = tar_of(with_lines(members, [b'"' + b"x" * (64 << 20)]))

    tracemalloc.start()
    refuse(tmp_path, target, content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(content) + (30 << 20), "the test itself holds the content"


@pytest.mark.parametrize(
    "head",
    [b"", b"{}", b"[]", b"nonsense", b'{"cacheness_export": "1"}', b"[" * 400, b"\xff" * 100],
)
def test_a_head_that_says_nothing_is_refused(tmp_path, target, good, head):
    members = members_of(good)
    info = tarfile.TarInfo("cacheness-export.json")
    info.size = len(head)

    refuse(tmp_path, target, tar_of([(info, head), *members[1:]]))


def test_a_newer_format_says_what_to_do(tmp_path, target, good):
    members = members_of(good)
    head = b'{"cacheness_export": 2}'
    info = tarfile.TarInfo("cacheness-export.json")
    info.size = len(head)

    said = refuse(tmp_path, target, tar_of([(info, head), *members[1:]]), ConfigError)
    assert "upgrade" in said


def test_what_is_no_file_is_refused(tmp_path, target):
    with pytest.raises(OSError, match="directory"):
        target.import_(tmp_path)
    with pytest.raises(FileNotFoundError):
        target.import_(tmp_path / "missing")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BlobCorruptedError, match="no regular file"):
        target.import_(tmp_path / "fifo")


def test_a_payload_that_is_another_is_left_out(tmp_path, target, good):
    members = members_of(good)
    content = bytearray(members[1][1])
    content[5000] ^= 1
    members[1] = (members[1][0], bytes(content))
    (tmp_path / "x.tar").write_bytes(tar_of(members))

    with pytest.warns(UserWarning, match="checksum"):
        done = target.import_(tmp_path / "x.tar")
    assert (done, done.refusals) == (2, 1)
    assert list(target.engine.blobs().iter_blobs()) == []


@pytest.mark.parametrize("checksum", ["", "md5:00", "blake3:", "xxh3-128:"])
def test_a_checksum_of_no_kind_is_no_excuse(tmp_path, target, good, checksum):
    members = members_of(good)
    lines = lines_of(members)
    lines[0]["checksum"] = checksum
    (tmp_path / "x.tar").write_bytes(tar_of(with_lines(members, lines)))

    with pytest.warns(CorruptionWarning, match="left out"):
        assert target.import_(tmp_path / "x.tar") == 2
    assert "array" not in target


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("namespace", "elsewhere"),
        ("cache_key", "another"),
        ("generation", 5),
        ("handler_version", 2),
        ("compressor", "gzip"),
        ("distribution", "evil"),
        ("metadata", {"a": 1}),
    ],
)
def test_a_signed_entry_that_was_changed_is_not_signed_anew(tmp_path, target, good, field, value):
    members = members_of(good)
    lines = lines_of(members)
    assert lines[2]["cache_key"] == "pickled"
    lines[2][field] = value
    (tmp_path / "x.tar").write_bytes(tar_of(with_lines(members, lines)))

    for trust in (False, True):
        with pytest.warns(SecurityWarning, match="does not hold"):
            target.import_(tmp_path / "x.tar", trust=trust)
        assert sorted(target) == ["array", "json"]


def test_a_signed_entry_whose_payload_was_swapped_with_its_checksum_is_refused(
    tmp_path, target, good
):
    from cacheness.payloads.checksum import checksum_of

    members = members_of(good)
    lines = lines_of(members)
    content = b"cos\nsystem\n(S'true'\ntR."[: lines[2]["stored_bytes"]].ljust(
        lines[2]["stored_bytes"], b"."
    )
    members[3] = (members[3][0], content)
    for algorithm in ("blake3", "xxh3-128"):
        lines[2]["checksum"] = checksum_of(content, algorithm)
        (tmp_path / "x.tar").write_bytes(tar_of(with_lines(members, lines)))
        with pytest.warns(SecurityWarning, match="does not hold"):
            target.import_(tmp_path / "x.tar", trust=True)
        assert "pickled" not in target


def test_a_pickle_that_calls_itself_json_is_never_unpickled(tmp_path, target, good):
    members = members_of(good)
    lines = lines_of(members)
    lines[2].update(handler="json", signature=None)
    (tmp_path / "x.tar").write_bytes(tar_of(with_lines(members, lines)))

    assert target.import_(tmp_path / "x.tar") == 3
    with pytest.warns(CachenessWarning, match="pickled"):
        assert target.get("pickled") is None


@pytest.mark.parametrize(
    "extension", ["../../../x", "/etc/passwd", ".NPY", "x" * 5000, 5, None, ".a.b.c.d.e", "\0"]
)
def test_an_extension_in_the_metadata_leads_nowhere(tmp_path, good, extension):
    members = members_of(good)
    lines = lines_of(members)
    lines[1]["metadata"] = {"extension": extension}
    (tmp_path / "x.tar").write_bytes(tar_of(with_lines(members, lines)))
    with UnifiedCache(tmp_path / "target", inline_bytes=1, signing_key=SECRET) as target:
        assert target.import_(tmp_path / "x.tar") == 3
        assert len(list(target.engine.blobs().iter_blobs())) == 3
    assert sorted(os.listdir(tmp_path)) == ["target", "x.tar"]


def test_two_entries_of_one_key_are_one_and_the_newer(tmp_path, target, good):
    members = members_of(good)
    lines = lines_of(members)
    lines[0]["cache_key"] = "json"
    lines[0]["created_at"] = lines[1]["created_at"] + 1
    (tmp_path / "x.tar").write_bytes(tar_of(with_lines(members, lines)))

    done = target.import_(tmp_path / "x.tar")
    assert done + done.skipped == 3
    np.testing.assert_array_equal(target["json"], np.arange(9_000))
    assert target.verify_integrity().pending == 0


@pytest.mark.slow
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_whatever_is_changed_it_is_read_whole_or_refused(tmp_path, good, data):
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.integers(0, 600))
        content[at : at + length] = data.draw(st.binary(max_size=64))
    path = tmp_path / "x.tar"
    path.write_bytes(content)
    with ExportReader.open(str(path)) as reader:
        try:
            count = reader.check()
        except (BlobCorruptedError, ConfigError):
            return
        exported = list(reader)
    assert len(exported) == count
    for one in exported:
        assert one.offset + one.entry.stored_bytes <= len(content)
