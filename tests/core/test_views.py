"""Caches and entries show themselves in notebooks."""

from html.parser import HTMLParser

from cacheness import Entry, UnifiedCache


class Cells(HTMLParser):
    """Collects the text of each row's cells, and every tag."""

    def __init__(self):
        super().__init__()
        self.tags, self.rows, self._into = set(), {}, None

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self._into = tag

    def handle_data(self, data):
        if self._into == "th":
            self._name = data
        elif self._into == "td":
            self.rows[self._name] = data


def shown(of):
    parser = Cells()
    parser.feed(of._repr_html_())
    return parser


def test_an_entry_shows_what_is_recorded_of_it(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put({"a": 1}, lr=0.1, name="n", prefix="p", tags=("t", "u"), custom_metadata={"m": 1})
        entry = cache.get_entry(lr=0.1, name="n")

    rows = shown(entry).rows
    assert rows["key"] == entry.cache_key
    assert rows["parameters"] == "lr=0.1, name='n'"
    assert rows["tags"] == "t, u"
    assert rows["custom metadata"] == "m=1"
    assert rows["size"] == "7 B"
    assert "expires" not in rows
    assert "description" not in rows


def test_what_an_entry_says_is_escaped():
    hostile = "<script>alert(1)</script>"
    entry = Entry(
        "", hostile, 1, prefix=hostile, params={hostile: hostile}, tags=(hostile,), summary="&"
    )

    parser = shown(entry)

    assert "script" not in parser.tags
    assert parser.rows["key"] == parser.rows["prefix"] == hostile


def test_a_long_text_and_an_odd_time_do_no_harm():
    entry = Entry("", "k", 1, description="x" * 10_000, expires_at=1e18, created_at=-1e18)

    rows = shown(entry).rows
    assert len(rows["description"]) == 201
    assert rows["expires"] == "1e+18 s after 1970"


def test_a_cache_shows_where_it_is_and_how_much_is_in_it(tmp_path):
    with UnifiedCache(tmp_path, namespace="n", max_size="1GiB") as cache:
        cache.put(bytes(2048), "k")

        rows = shown(cache).rows
        assert rows["directory"] == str(tmp_path)
        assert rows["entries"] == "1"
        assert rows["size"] == "2 KiB of at most 1 GiB"
        assert rows["namespace"] == "n"

    assert shown(cache).rows["closed"] == "yes"
