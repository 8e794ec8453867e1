"""A cache beside a dictionary that says what it should hold."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cacheness import UnifiedCache

NAMES = [{"n": n, "colour": colour} for n in range(3) for colour in ("red", "blue")]
NEVER, LONG, OVER = None, 3600.0, 1e-9
SETTINGS = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

names = st.sampled_from(range(len(NAMES)))
ttls = st.sampled_from([NEVER, LONG, OVER])
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
labels = st.lists(st.sampled_from(["x", "y"]), max_size=2, unique=True)
values = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from([{"a": [1, 2.5]}, {1, 2}, "blob" * 100]),
)


@dataclass
class Held:
    """What the model knows of one entry."""

    value: Any
    prefix: str = ""
    tags: tuple[str, ...] = ()
    description: str = ""
    expired: bool = False


MISSING = object()


class CacheMachine(RuleBasedStateMachine):
    """Does the same to both; an expired entry may be there or not, but is never given."""

    backend = "sqlite"
    persistent = True

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="cacheness-test-")
        self.cache = self.open()
        self.model: dict[int, Held] = {}
        self.keys: dict[int, str] = {}

    def open(self) -> UnifiedCache:
        return UnifiedCache(
            self.directory,
            metadata_backend=self.backend,
            inline_bytes=100,
            signing_key=b"a key of these tests",
            **self.options(),
        )

    def options(self) -> dict[str, Any]:
        return {}

    def teardown(self) -> None:
        self.cache.close()
        shutil.rmtree(self.directory)

    def alive(self) -> dict[int, Held]:
        return {name: held for name, held in self.model.items() if not held.expired}

    @initialize(given=st.dictionaries(names, st.tuples(values, ttls), min_size=3))
    def fill(self, given):
        """Most of what comes is worth little of a cache that is empty."""
        for name, (value, ttl) in given.items():
            self.put(name, value, ttl, [], "")

    # --- one entry ------------------------------------------------------------------------

    @rule(name=names, value=values, ttl=ttls, tags=labels, prefix=st.sampled_from(["", "p"]))
    def put(self, name, value, ttl, tags, prefix):
        was = self.model.get(name)
        if was is not None and was.prefix != prefix:
            prefix = was.prefix  # changing it warns
        self.keys[name] = self.cache.put(
            value, **NAMES[name], ttl_seconds=ttl, tags=tags, prefix=prefix
        )
        self.model[name] = Held(value, prefix, tuple(tags), expired=ttl == OVER)
        self.compare(name)

    @rule(name=names, value=values)
    def add(self, name, value):
        stored = self.cache.add(value, **NAMES[name])

        assert stored is (name not in self.alive())
        if stored:
            self.model[name] = Held(value)
            self.keys[name] = self.cache.get_entry(**NAMES[name]).cache_key

    @rule(name=names)
    def get(self, name):
        found = self.cache.get(**NAMES[name], default=MISSING)

        held = self.alive().get(name)
        assert found is MISSING if held is None else found == held.value
        assert self.cache.exists(**NAMES[name]) is (held is not None)

    @rule()
    def look_at_all(self):
        for name in range(len(NAMES)):
            self.compare(name)

    @rule(name=names)
    def get_entry(self, name):
        self.compare(name)

    def compare(self, name):
        entry, held = self.cache.get_entry(**NAMES[name]), self.alive().get(name)

        assert (entry is None) is (held is None)
        if entry is not None:
            assert (entry.prefix, entry.tags, entry.description) == (
                held.prefix,
                held.tags,
                held.description,
            )

    @rule(name=names)
    def pop(self, name):
        found = self.cache.pop(**NAMES[name], default=MISSING)

        held = self.alive().get(name)
        assert found is MISSING if held is None else found == held.value
        if held is not None:
            del self.model[name]

    @rule(name=names)
    def invalidate(self, name):
        removed = self.cache.invalidate(**NAMES[name])

        held = self.model.pop(name, None)
        assert held is None or held.expired or removed
        assert held is not None or not removed

    @rule(name=names, ttl=ttls)
    def touch(self, name, ttl):
        touched = self.cache.touch(**NAMES[name], ttl_seconds=ttl)

        held = self.alive().get(name)
        assert touched is (held is not None)
        if held is not None:
            held.expired = ttl == OVER

    @rule(name=names)
    def touch_as_it_is(self, name):
        assert self.cache.touch(**NAMES[name]) is (name in self.alive())

    @rule(name=names, value=values)
    def update_data(self, name, value):
        updated = self.cache.update_data(value, **NAMES[name])

        held = self.alive().get(name)
        assert updated is (held is not None)
        if held is not None:
            held.value = value

    @rule(name=names, description=texts, tags=labels)
    def update_entry(self, name, description, tags):
        updated = self.cache.update_entry(**NAMES[name], description=description, tags=tags)

        held = self.alive().get(name)
        assert updated is (held is not None)
        if held is not None:
            held.description, held.tags = description, tuple(tags)
        self.compare(name)

    # --- many entries ---------------------------------------------------------------------

    @rule(some=st.dictionaries(names, values, max_size=4))
    def put_batch(self, some):
        kept = {name: value for name, value in some.items() if self.prefix_of(name) == ""}
        keys = self.cache.put_batch([(value, NAMES[name]) for name, value in kept.items()])

        for (name, value), key in zip(kept.items(), keys, strict=True):
            self.model[name] = Held(value)
            self.keys[name] = key

    def prefix_of(self, name):
        return self.model[name].prefix if name in self.model else ""

    @rule(some=st.lists(names, max_size=5))
    def get_batch(self, some):
        found = self.cache.get_batch([NAMES[name] for name in some], default=MISSING)

        alive = self.alive()
        for name, value in zip(some, found, strict=True):
            assert value is MISSING if name not in alive else value == alive[name].value

    @rule(some=st.lists(names, max_size=4, unique=True))
    def delete_batch(self, some):
        removed = self.cache.delete_batch([NAMES[name] for name in some])

        present = [self.model.pop(name) for name in some if name in self.model]
        assert sum(not held.expired for held in present) <= removed <= len(present)

    @rule(colour=st.sampled_from(["red", "blue"]))
    def query(self, colour):
        found = set(self.cache.query_meta(colour=colour))

        of_colour = {name for name in self.model if NAMES[name]["colour"] == colour}
        assert {self.keys[name] for name in of_colour & self.alive().keys()} <= found
        assert found <= {self.keys[name] for name in of_colour}

    @rule(tag=st.sampled_from(["x", "y"]))
    def entries_of_a_tag(self, tag):
        found = {entry.cache_key for entry in self.cache.entries(tags__contains=tag)}

        tagged = {name for name, held in self.model.items() if tag in held.tags}
        assert {self.keys[name] for name in tagged & self.alive().keys()} <= found
        assert found <= {self.keys[name] for name in tagged}

    @rule(number=st.integers(0, 3))
    def delete_matching(self, number):
        self.cache.delete_matching(n__gte=number)

        for name in [name for name in self.model if NAMES[name]["n"] >= number]:
            del self.model[name]

    @rule()
    def cleanup_expired(self):
        removed = self.cache.cleanup_expired()

        expired = [name for name, held in self.model.items() if held.expired]
        assert removed <= len(expired)
        for name in expired:
            del self.model[name]
        assert len(self.cache) == len(self.model)

    @rule(prefix=st.sampled_from([None, "p"]))
    def clear(self, prefix):
        self.cache.clear(prefix)

        self.model = {
            name: held
            for name, held in self.model.items()
            if prefix is not None and held.prefix != prefix
        }

    @precondition(lambda self: self.persistent)
    @rule()
    def reopen(self):
        self.cache.close()
        self.cache = self.open()

    @invariant()
    def no_more_and_no_less(self):
        assert len(self.alive()) <= len(self.cache) <= len(self.model)
