# SPDX-License-Identifier: MIT
"""`cached` in classes: methods, class methods, static methods and properties."""

import asyncio
import functools
import inspect
import pickle

import pytest

from cacheness import cached


@pytest.fixture
def model(cache, calls):
    class Model:
        """Counts by its weight."""

        scale = 10

        def __init__(self, weight):
            self.weight = weight

        @cached(cache=cache)
        def predict(self, x: int) -> int:
            """Predicts."""
            calls.append(("predict", x))
            return self.weight * x

        @cached(cache=cache, ignore=("self",))
        def shared(self, x):
            calls.append(("shared", x))
            return x

        @cached(cache=cache)
        async def later(self, x):
            calls.append(("later", x))
            return self.weight * x

        @cached(cache=cache)
        def stream(self, n):
            calls.append(("stream", n))
            yield from range(n)

    return Model


def test_an_object_counts_by_its_state_unless_it_is_ignored(model, calls):
    assert model(2).predict(3) == model(2).predict(3) == 6
    assert model(3).predict(3) == 9
    assert model(2).shared(1) == model(3).shared(1) == 1
    assert calls == [("predict", 3), ("predict", 3), ("shared", 1)]


def test_what_a_bound_method_offers_is_bound_too(cache, model, calls):
    obj = model(2)

    assert not obj.predict.is_cached(3)
    assert obj.predict(3) == 6
    assert obj.predict.is_cached(x=3)
    assert obj.predict.cache_key(3) == model.predict.cache_key(obj, 3)
    assert obj.predict.cache_key(3) != model(3).predict.cache_key(3)
    assert cache.get(obj.predict.cache_key(3)) == 6
    assert obj.predict.cache_refresh(3) == 6
    assert len(calls) == 2
    assert obj.predict.cache_invalidate(3)
    assert not obj.predict.is_cached(3)
    assert obj.predict.cache_info() == model.predict.cache_info() == (0, 2, 0)


def test_methods_look_like_methods(model):
    obj = model(2)

    assert inspect.isfunction(model.predict)
    assert str(inspect.signature(model.predict)) == "(self, x: int) -> int"
    assert str(inspect.signature(obj.predict)) == "(x: int) -> int"
    assert obj.predict.__name__ == "predict"
    assert obj.predict.__doc__ == "Predicts."
    assert obj.predict.__self__ is obj
    assert obj.predict.__func__ is model.predict
    assert obj.predict == obj.predict
    assert obj.predict != model(2).predict
    assert inspect.iscoroutinefunction(obj.later)
    assert inspect.isgeneratorfunction(obj.stream)
    assert "cached method" in repr(obj.predict)


def test_coroutines_and_generators_as_methods(model, calls):
    obj = model(2)

    assert asyncio.run(obj.later(3)) == asyncio.run(obj.later(3)) == 6
    assert list(obj.stream(3)) == list(obj.stream(3)) == [0, 1, 2]
    assert calls == [("later", 3), ("stream", 3)]


def test_a_subclass_and_super(cache, model, calls):
    class Louder(model):
        def predict(self, x):
            return super().predict(x) + 1

    assert Louder(2).predict(3) == Louder(2).predict(3) == 7
    assert len(calls) == 1


def test_class_methods_in_both_orders(cache, calls):
    class Model:
        scale = 2

        @classmethod
        @cached(cache=cache)
        def below(cls, x):
            calls.append(x)
            return cls.scale * x

        @cached(cache=cache)
        @classmethod
        def above(cls, x):
            calls.append(x)
            return cls.scale * x

    assert Model.below(3) == Model().below(3) == 6
    assert Model.above(4) == Model().above(4) == 8
    assert calls == [3, 4]
    for name in ("below", "above"):
        assert Model.__dict__[name].__func__.cache_info() == (1, 1, 0)


def test_static_methods_in_both_orders(cache, calls):
    class Model:
        @staticmethod
        @cached(cache=cache)
        def below(x):
            calls.append(x)
            return x

        @cached(cache=cache)
        @staticmethod
        def above(x):
            calls.append(x)
            return x

    for make in (Model.below, Model.above):
        assert not make.is_cached(3)
        assert make(3) == make(3) == 3
        assert make.is_cached(3)
        assert make.cache_info() == (1, 1, 0)
    assert Model().below(3) == Model().above(3) == 3
    assert Model.below.cache_key(3) == Model().below.cache_key(3)
    assert len(calls) == 2


def test_properties_in_both_orders(cache, calls):
    class Square:
        def __init__(self, side):
            self.side = side

        @property
        @cached(cache=cache)
        def below(self):
            """The area."""
            calls.append(self.side)
            return self.side**2

        @cached(cache=cache)
        @property
        def above(self):
            """The area."""
            calls.append(self.side)
            return self.side**2

        @above.setter
        def above(self, area):
            self.side = area // 2

    assert Square(3).below == Square(3).below == Square(3).above == Square(3).above == 9
    assert Square(4).below == 16
    assert calls == [3, 3, 4]
    assert Square.below.__doc__ == Square.above.__doc__ == "The area."


def test_a_cached_property_above(cache, calls):
    class Square:
        def __init__(self, side):
            self.side = side

        @functools.cached_property
        @cached(cache=cache)
        def area(self):
            calls.append(self.side)
            return self.side**2

    assert Square(3).area == Square(3).area == 9
    assert len(calls) == 1


class Pickled:
    """At module level, so that its methods pickle by name."""

    def __init__(self, weight):
        self.weight = weight

    @cached(code="off")
    def predict(self, x):
        return self.weight * x


def test_methods_pickle_with_their_object(cache):
    import cacheness

    cacheness.configure(cache.config)
    bound = pickle.loads(pickle.dumps(Pickled(2).predict))

    assert bound(4) == 8
    assert bound.__self__.weight == 2
    assert pickle.loads(pickle.dumps(Pickled.predict)) is Pickled.predict
