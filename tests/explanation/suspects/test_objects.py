"""A backward that is a method of an object in the cache is watched like any other, and the object is left as it was."""

import numpy as np

from gradcheck.explanation.suspects import counterfactual
from gradcheck.explanation.suspects.objects import changed_in, has_objects
from gradcheck.explanation.suspects.runs import tape_of
from gradcheck.explanation.suspects.tape import Watched
from tests.explanation.suspects.pair import evidence_of, normal

BAG = """
import numpy as np

class Bag:
    def __init__(self, table, w):
        self.table, self.w = table, w

    def run(self, words):
        self.words = words
        self.mean = self.table[words].mean(axis=1)
        return np.tanh(self.mean @ self.w)

    def gradients(self, dy):
        da = dy * (1 - np.tanh(self.mean @ self.w) ** 2)
        each = np.outer(da, self.w)[:, None, :] / self.words.shape[1]
        dtable = np.zeros(self.table.shape)
        ADD
        return dtable, self.mean.T @ da

def forward(table, w, words):
    bag = Bag(table, w)
    return bag.run(words), bag

def backward(dy, bag):
    return bag.gradients(dy)
"""
WORDS = np.array([[0, 1, 1], [2, 1, 0], [3, 3, 2]])
WRONG = "dtable[self.words] += each + np.zeros((*self.words.shape, 1))"


def bag(add):
    space = {"__name__": "bag"}
    exec(BAG.replace("ADD", add), space)  # noqa: S102  (a pair without a source that can be found)
    return space["forward"], space["backward"]


def test_repeated_indices_are_found_in_a_method():
    evidence = evidence_of(*bag(WRONG), (*normal(0, (5, 4), (4,)), WORDS))
    assert evidence.wrong == ("table",)
    assert [each.mistake for each in counterfactual.suspects(evidence)] == ["E1"]


def test_an_object_that_outlives_the_run_holds_plain_arrays_again():
    forward, backward = bag(WRONG)
    kept = []

    def keeping(table, w, words):
        out, held = forward(table, w, words)
        kept.append(held)
        return out, held

    assert tape_of(evidence_of(keeping, backward, (*normal(0, (5, 4), (4,)), WORDS)))
    assert kept
    assert not any(isinstance(value, Watched) for held in kept for value in vars(held).values())


def test_objects_are_left_as_they_were():
    class Held:
        pass

    held = Held()
    array = np.ones(3)
    held.one, held.more, held.other = array, [array, (array, 2)], held
    held.call = lambda: array
    assert has_objects((1, held))
    changed_in((1, held), lambda value: value.view(np.matrix) if type(value) is np.ndarray else value)
    assert type(held.one) is type(held.more[0]) is type(held.more[1][0]) is type(held.call()) is np.matrix
    changed_in((1, held), lambda value: np.asarray(value) if isinstance(value, np.matrix) else value)
    assert type(held.one) is type(held.more[0]) is type(held.more[1][0]) is type(held.call()) is np.ndarray


class Kept:
    """An object that outlives the check."""

    def __init__(self, rng):
        self.W = rng.standard_normal((4, 3))


def test_an_object_that_outlives_the_check_keeps_its_own_arrays():
    kept = Kept(np.random.default_rng(0))
    W = kept.W

    def forward(x):
        return np.tanh(x @ kept.W), (kept, x)

    def backward(dy, cache):
        layer, x = cache
        layer.dz = dy * (1 + np.tanh(x @ layer.W) ** 2)
        return layer.dz @ layer.W.T

    assert tape_of(evidence_of(forward, backward, normal(1, (5, 4)))) is not None
    assert kept.W is W
    assert type(kept.dz) is np.ndarray
