"""A twin does what the function does, in a copy of all that the function reaches."""

import abc
import collections
import dataclasses
import enum
import functools
import logging
import math
import queue
import random
import threading
import types
import weakref
from typing import NamedTuple

import numpy as np

from gradcheck.steps.twin import Twins, apart

COUNT, HELD, TOTAL = 0, [np.zeros(2)], np.zeros(3)
MODULE = types.ModuleType("a_module_of_the_users")
MODULE.level = 1


def test_a_global_that_a_twin_rebinds_is_private():
    def bump():
        global COUNT  # noqa: PLW0603
        COUNT += 1
        HELD.append(COUNT)
        HELD[0][0] += 1
        return COUNT

    twin = Twins().of(bump)
    assert (twin(), twin()) == (1, 2)
    assert (COUNT, len(HELD), HELD[0].tolist()) == (0, 1, [0, 0])


def test_what_a_twin_finds_by_globals_is_what_it_has():
    def names():
        return globals()["COUNT"], globals().get("nothing", 5), "COUNT" in globals()

    assert Twins().of(names)() == (0, 5, True)


def test_what_a_module_is_changed_to_a_twin_of_a_twin_finds_too():
    def log(x):
        return math.log(x)

    with apart(log) as (twin,):
        assert Twins({id(math.log): lambda _: 5}).of(twin)(1.0) == 5


def test_cells_are_shared_by_the_twins_that_shared_them():
    def make():
        n = 0

        def up():
            nonlocal n
            n += 1

        return up, lambda: n

    up, get = make()
    twins = Twins()
    twins.of(up)()
    assert (twins.of(get)(), get()) == (1, 0)


def test_defaults_and_attributes_of_a_function_are_copied():
    def remember(x, *, seen=[]):  # noqa: B006
        seen.append(x)
        remember.last = x
        return len(seen)

    remember.last = None
    twin = Twins().of(remember)
    assert (twin(1), twin(2), twin.__kwdefaults__["seen"]) == (1, 2, [1, 2])
    assert (remember.__kwdefaults__["seen"], remember.last) == ([], None)


def test_an_object_has_a_twin_with_its_state_and_its_methods():
    class Base:
        made = 0

        def __init__(self):
            self.x = np.zeros(2)

        def add(self):
            Base.made += 1
            self.x += 1
            return self

    class Derived(Base):
        def add(self):
            super().add()
            self.y = self.x.sum()
            return self

    thing = Derived()
    twins = Twins()
    twin = twins.of(thing)
    assert twin.add() is twin
    assert isinstance(twin, Derived)
    assert type(twin).__name__ == "Derived"
    assert (twin.y, thing.x.tolist(), Base.made, hasattr(thing, "y")) == (2.0, [0, 0], 0, False)
    assert twins.of(Base).made == 1
    assert twins.of(twin) is twin
    assert twins.of(thing.add)().y == 4.0


def test_things_of_every_kind_are_copied_as_what_they_are():
    class Slotted:
        __slots__ = ("a", "b")

    class Words(dict):
        pass

    @dataclasses.dataclass(frozen=True)
    class Frozen:
        a: list

    class Pair(NamedTuple):
        a: list

        def first(self):
            return self.a[0]

    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self): ...

    class Square(Shape):
        side = 2

        def area(self):
            return self.side**2

    slotted = Slotted()
    slotted.a = [1]
    words = Words(a=[1])
    words.extra = [2]
    things = [
        slotted,
        words,
        Frozen([1]),
        Pair([1]),
        Square(),
        collections.OrderedDict(a=[1]),
        collections.defaultdict(list, a=[1]),
        collections.deque([[1]], maxlen=3),
        {(1, 2): {3}},
        types.SimpleNamespace(a=[1]),
        functools.partial(max, [1]),
        bytearray(b"a"),
        queue.Queue(),
    ]
    for thing, twin in zip(things, Twins().of(things), strict=True):
        assert twin is not thing
        assert isinstance(twin, type(thing))
        assert type(twin).__qualname__ == type(thing).__qualname__
    slotted, words, frozen, pair, square, ordered, default, deque, *_ = Twins().of(things)
    assert (slotted.a, words["a"], words.extra, frozen.a, pair.first(), square.area()) == ([1], [1], [2], [1], 1, 4)
    assert not hasattr(slotted, "b")
    assert (ordered, default["b"], deque.maxlen) == ({"a": [1]}, [], 3)
    slotted.a.append(2)
    assert things[0].a == [1]


def test_things_that_hold_each_other_hold_each_other():
    ring = [1]
    ring.append(ring)
    pair = ({"ring": ring}, ring)
    twin = Twins().of(pair)
    assert twin[0]["ring"] is twin[1]
    assert twin[1][1] is twin[1] is not ring


def test_a_long_chain_is_no_recursion():
    class Link:
        def __init__(self, after):
            self.after = after

    chain = None
    for _ in range(20_000):
        chain = Link(chain)
    twin, count = Twins().of(chain), 0
    while twin is not None:
        twin, count = twin.after, count + 1
    assert count == 20_000


def test_what_nobody_can_change_is_not_copied():
    class Colour(enum.Enum):
        RED = 1

    sentinel = object()
    error = ValueError("x")
    for thing in (1, "a", None, (1, "a"), Colour.RED, sentinel, error, np.float64(1), np.exp, len, Colour, slice(1)):
        assert Twins().of(thing) is thing


def test_views_of_one_memory_are_views_of_one_copy():
    flat = np.arange(6.0)
    twin = Twins().of(
        {"flat": flat, "w": flat[:4].reshape(2, 2), "b": flat[:3:-1], "wide": np.asfortranarray(np.eye(3))[1:]}
    )
    twin["w"][0] = 9
    assert twin["flat"].tolist() == [9, 9, 2, 3, 4, 5]
    assert twin["b"].tolist() == [5, 4]
    assert twin["wide"].tolist() == np.eye(3)[1:].tolist()
    assert flat.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_read_only_array_is_copied_read_only_and_an_array_of_objects_with_what_it_holds():
    fixed = np.zeros(2)
    fixed.flags.writeable = False
    boxes = np.array([[1], None], dtype=object)
    twin = Twins().of((fixed, boxes))
    assert not twin[0].flags.writeable
    assert twin[1][0] == [1]
    assert twin[1][0] is not boxes[0]


def test_generators_draw_the_same_numbers_and_are_not_moved():
    rng, old = np.random.default_rng(1), np.random.RandomState(1)

    def draw():
        np.random.rand()  # noqa: NPY002
        return rng.random(), old.rand(), random.random(), np.random.randn(), np.random.standard_normal()  # noqa: NPY002, S311

    before = np.random.get_state()[1].tolist(), random.getstate(), rng.bit_generator.state["state"]["state"]  # noqa: NPY002
    assert Twins().of(draw)() == Twins().of(draw)()
    assert (np.random.get_state()[1].tolist(), random.getstate(), rng.bit_generator.state["state"]["state"]) == before  # noqa: NPY002


def test_a_module_of_the_users_takes_what_is_set_for_itself():
    def set_level():
        MODULE.level += 1
        MODULE.new = 5
        return MODULE.level

    assert Twins().of(set_level)() == 2
    assert (MODULE.level, hasattr(MODULE, "new")) == (1, False)


def test_what_is_cached_by_a_decorator_is_cached_apart():
    calls = []

    @functools.lru_cache(maxsize=4)
    def slow(n):
        calls.append(n)
        return n

    slow(1)
    assert Twins().of(slow)(2) == 2
    assert calls == [1]
    assert slow.cache_info().currsize == 1


def test_a_lock_that_is_held_is_free_for_the_twin():
    lock = threading.Lock()

    def locked():
        with lock:
            return 1

    with lock:
        assert Twins().of(locked)() == 1


def test_what_a_twin_logs_reaches_no_handler(caplog):
    log = logging.getLogger("users")

    def talk():
        log.error("a")
        logging.error("b")  # noqa: LOG015
        logging.getLogger().error("c")

    Twins().of(talk)()
    assert not caplog.records


def test_an_object_with_a_finaliser_is_finished_once():
    ended = []

    class Temporary:
        def __del__(self):
            ended.append(self)

    def make():
        return Temporary()

    thing = Temporary()
    twins = Twins()
    copied = twins.of(thing)
    made = twins.of(make)()
    twins.close()
    del copied
    assert not ended
    del made  # it is the twin's own
    assert len(twins.of(ended)) == 0
    del thing
    assert len(ended) == 1


def test_classes_above_are_not_told_of_twins():
    class Plugin:
        known = []  # noqa: RUF012

        def __init_subclass__(cls, **kwargs):
            super().__init_subclass__(**kwargs)
            Plugin.known.append(cls)

    class One(Plugin):
        def get(self):
            return 1

    assert Twins().of(One)().get() == 1
    assert Plugin.known == [One]


def test_weak_references_lead_to_the_twin():
    class Node:
        pass

    parent, child = Node(), Node()
    child.parent = weakref.ref(parent)
    twin_parent, twin_child = Twins().of([parent, child])
    assert twin_child.parent() is twin_parent


def test_a_table_by_identity_is_one_of_the_twins():
    array = np.zeros(2)
    table = {id(array): array}
    twin = Twins().of((array, table))
    assert twin[1][id(twin[0])] is twin[0]


def test_a_world_apart_ends_with_its_block():
    total = np.zeros(2)

    def add(total=total):
        total += 1
        return total

    with apart(add, total) as (twin, own):
        assert twin() is own
        assert own.tolist() == [1, 1]
    assert total.tolist() == [0, 0]


def test_a_generator_that_is_running_and_a_file_stay_what_they_are(tmp_path):
    running = iter([1])
    (tmp_path / "a").write_text("a")
    with (tmp_path / "a").open() as file:
        assert Twins().of(file) is file
    assert Twins().of(running) is running
