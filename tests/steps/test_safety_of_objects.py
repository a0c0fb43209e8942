"""Reading a failing report leaves objects as they are, and what a backward remembers."""

import collections
import dataclasses
import functools
import gc
import weakref

import numpy as np
import pytest

from gradcheck import Verdict
from tests.steps.dangers import (
    Frozen,
    Itself,
    Slotted,
    Unit,
    affine,
    also,
    examined,
    layer,
    read,
    unsquared,
)

# -- objects that notice being looked at


def test_an_object_that_deletes_a_file_when_it_dies_is_not_copied_by_reading(diary, precious):
    class Owner:
        """Owns a file."""

        def __init__(self):
            self.path, self.total, self.wrong = precious, np.zeros(2), unsquared

        def __del__(self):
            diary("died")
            self.path.unlink(missing_ok=True)

        def pull(self, dout, cache):
            diary("pulled")
            gradients = self.wrong(dout, cache)
            self.total += gradients[2]
            return gradients

    owner = Owner()
    report = examined(layer, owner.pull)
    assert set(diary.lines) == {"pulled"}
    assert "db" in read(report, owner)
    gc.collect()
    assert set(diary.lines) == {"pulled"}
    assert precious.exists()
    owner.path = precious.with_name("nothing")


def test_a_proxy_is_asked_for_nothing_that_its_user_does_not_ask_it_for(diary):
    class Proxy:
        """Gives whatever it is asked for, and remembers."""

        def __getattr__(self, name):
            if not name.startswith("__"):  # Python itself may look for those
                diary(name)
            made = np.ones(2)
            object.__setattr__(self, name, made)
            return made

    proxy = Proxy()
    backward = also(lambda dout, cache, gradients: proxy.scale + proxy.shift)
    report = examined(layer, backward)
    assert {"scale", "shift"} <= set(vars(proxy))
    assert "dW" in read(report, proxy, backward)
    assert set(diary.lines) == {"scale", "shift"}


def test_properties_that_the_backward_does_not_read_are_not_read_by_reading_a_report(diary, precious):
    class Trap:
        """Has a property that nobody should read, and one that counts."""

        def __init__(self):
            self.count = 0

        @property
        def total(self):
            self.count += 1
            return self.count

        @property
        def trap(self):
            diary("sprung")
            precious.unlink(missing_ok=True)
            return np.zeros(2)

    trap = Trap()
    backward = also(lambda dout, cache, gradients: trap.total)
    report = examined(layer, backward)
    assert trap.count > 0
    assert "dW" in read(report, trap, backward)
    assert diary.lines == []


def test_a_class_that_registers_its_subclasses_has_none_more_after_reading():
    registered = []

    class Registry(type):
        """Takes down every class that is made, and every object of it."""

        def __init__(cls, name, bases, body):
            super().__init__(name, bases, body)
            registered.append(name)

        def __call__(cls, *args):
            registered.append("made")
            return super().__call__(*args)

    class Tanh(metaclass=Registry):
        """A layer in static and class methods."""

        @staticmethod
        def forward(x, W, b):
            return layer(x, W, b)

        @classmethod
        def backward(cls, dout, cache):
            x, W, h = cache
            dz = cls.slope(dout, h)
            return dz @ W.T, x.T @ dz, dz.sum(axis=0)

        @staticmethod
        def slope(dout, h):
            return dout * (1 - h)

    tanh = Tanh()
    report = examined(tanh.forward, tanh.backward)
    assert registered == ["Tanh", "made"]
    assert "dW" in read(report, registered, Tanh)
    gc.collect()
    assert Tanh.__subclasses__() == []


def _leaves(*args):
    raise SystemExit("touched")


class Touchy:
    """Ends the program if it is compared, printed, counted or copied."""

    __eq__ = __ne__ = __lt__ = __bool__ = __len__ = __iter__ = __contains__ = __repr__ = __str__ = _leaves
    __hash__ = __copy__ = __deepcopy__ = __reduce_ex__ = __format__ = __getitem__ = __call__ = _leaves


def test_an_object_in_the_cache_that_ends_the_program_when_it_is_touched_does_not_end_it():
    touchy = Touchy()

    def forward(x, W, b):
        out, cache = layer(x, W, b)
        return out, {"cache": cache, "touchy": touchy}

    report = examined(forward, lambda dout, cache: unsquared(dout, cache["cache"]))
    with pytest.raises(SystemExit):
        bool(touchy)
    assert "dW" in read(report)


def test_an_object_that_calls_itself_an_array_and_is_none_leaves_the_verdict():
    class Liar:
        """Says that it is an array."""

        __class__ = np.ndarray  # what isinstance asks for

        def __getattr__(self, name):
            raise GeneratorExit(name)

    liar = Liar()
    assert isinstance(liar, np.ndarray)
    used = []
    backward = also(lambda dout, cache, gradients: used.append(liar is not None))
    report = examined(layer, backward)
    assert used
    said = str(report)
    assert report._repr_html_()
    assert report.verdict is Verdict.FAIL
    assert "dW" in said


def test_an_object_that_turns_into_an_array_is_not_changed_by_reading(diary):
    class Lazy:
        """Becomes an array when it is asked, and counts."""

        def __init__(self, numbers):
            self.numbers, self.asked = numbers, 0

        def __array__(self, dtype=None, copy=None):
            self.asked += 1
            diary(self.numbers.shape)
            return np.array(self.numbers, dtype=dtype)

    lazy = Lazy(np.ones(2))
    backward = also(lambda dout, cache, gradients: np.asarray(lazy) * gradients[2])
    report = examined(layer, backward)
    assert lazy.asked > 0
    assert "db" in read(report, lazy, backward)


def test_an_array_of_a_kind_of_the_user_stays_of_that_kind():
    unit = np.ones((4, 2)).view(Unit)
    backward = also(lambda dout, cache, gradients: unit * dout)
    report = examined(layer, backward)
    assert "multiply" in Unit.done
    assert "dW" in read(report, unit, Unit, backward)
    assert (type(unit), unit.unit) == (Unit, "m")


def test_reading_a_failing_report_lets_what_is_held_weakly_live_and_what_it_made_die(diary):
    class Cache:
        """Can be held weakly."""

        def __init__(self, held):
            self.held = held

    held, made, by_name = Slotted(), weakref.WeakSet(), weakref.WeakValueDictionary()
    by_name["held"] = held
    finalizer = weakref.finalize(held, diary, "died")

    def forward(x, W, b):
        out, cache = layer(x, W, b)
        wrapped = Cache(cache)
        made.add(wrapped)
        diary("made")
        return out, wrapped

    report = examined(forward, lambda dout, cache: unsquared(dout, cache.held))
    gc.collect()
    before = len(made)
    assert "dW" in read(report, forward, held)
    gc.collect()
    assert len(made) <= before
    assert by_name["held"] is held
    assert finalizer.alive
    assert set(diary.lines) == {"made"}
    finalizer.detach()


def test_a_frozen_dataclass_that_the_backward_writes_through_is_as_it_was():
    frozen = Frozen(np.zeros(2))

    def counts(dout, cache, gradients):
        object.__setattr__(frozen, "count", frozen.count + 1)
        object.__setattr__(frozen, "total", frozen.total + gradients[2])

    backward = also(counts)
    report = examined(layer, backward)
    assert frozen.count > 0
    assert "db" in read(report, frozen, backward)
    with pytest.raises(dataclasses.FrozenInstanceError):
        frozen.count = 0


# -- what the backward remembers


def test_a_cached_function_remembers_no_other_shapes_and_no_recordings_after_reading():
    @functools.lru_cache(maxsize=8)
    def eye(size):
        return np.eye(size)

    @functools.cache
    def mean(rows, columns):
        return np.full((rows, columns), 1 / rows)

    def backward(dout, cache):
        x, W = cache
        return dout @ W.T, x.T @ dout, (mean(*dout.shape) * dout).sum(axis=0) @ eye(dout.shape[1])

    report = examined(affine, backward)
    before = eye.cache_info().currsize, mean.cache_info().currsize
    assert before == (1, 1)
    kept = eye(2), mean(4, 2)
    assert "db" in read(report, *kept)
    assert (eye.cache_info().currsize, mean.cache_info().currsize) == before
    assert (Itself(eye(2)), Itself(mean(4, 2))) == tuple(map(Itself, kept))


def test_a_memory_of_gradients_by_the_identity_of_the_cotangent_is_as_it_was():
    memory = {}

    def backward(dout, cache):
        if id(dout) not in memory:
            memory[id(dout)] = (dout, unsquared(dout, cache))
        return memory[id(dout)][1]

    report = examined(layer, backward)
    assert memory
    assert "dW" in read(report, memory, backward)


def test_a_cache_that_is_a_generator_is_read_no_further_than_the_backward_reads_it(diary):
    def forever(cache):
        while True:
            diary("asked")
            yield cache

    def forward(x, W, b):
        out, cache = layer(x, W, b)
        return out, forever(cache)

    def backward(dout, cache):
        diary("pulled")
        return unsquared(dout, next(cache))

    report = examined(forward, backward)
    assert diary.lines.count("asked") == diary.lines.count("pulled") > 0
    assert read(report, forward, backward)
    assert diary.lines.count("asked") == diary.lines.count("pulled")


def test_a_stack_that_the_forward_pushes_to_and_the_backward_pops_from_is_as_it_was():
    stack = []

    def forward(x, W, b):
        out, cache = layer(x, W, b)
        stack.append(cache)
        return out, None

    def backward(dout, cache):
        return unsquared(dout, stack[-1] if len(stack) == 1 else stack.pop())

    report = examined(forward, backward)
    assert stack
    assert read(report, stack, forward, backward)


def test_decorators_that_count_are_as_they_were():
    counts = collections.Counter()

    def counted(function):
        @functools.wraps(function)
        def wrapper(*args):
            counts[function.__name__] += 1
            wrapper.last = args
            return function(*args)

        return wrapper

    forward, backward = counted(counted(layer)), counted(unsquared)
    report = examined(forward, backward)
    assert counts["layer"] > counts["unsquared"] > 0
    assert "dW" in read(report, forward, backward, counts)
