"""Repairs in the user's own source: they are found, they are right, and nothing of the user's changes."""

import contextlib
import copy
import functools
import linecache
import traceback
import types

import numpy as np
import pytest

from gradcheck import from_layer, from_loss_and_grad, from_value_and_gradient, from_vjp
from gradcheck.explanation.edits import NoSource, edits, source_of
from tests.explanation.edits import wild
from tests.explanation.edits.planted import PLANTED, Planted, alike, module_of, point_of, with_planted


def verified(edited, right, points, changed=lambda edit: edit.backward):
    """Yield the edits that give the gradients of ``right`` at every point."""
    truths = [right(*copy.deepcopy(point)) for point in points]
    for edit in edited:
        try:
            with np.errstate(all="ignore"):
                agree = all(alike(changed(edit)(*copy.deepcopy(p)), t) for p, t in zip(points, truths, strict=True))
        except Exception:  # noqa: BLE001, S112 (an edit may raise anything, and then it is no repair)
            continue
        if agree:
            yield edit


def points_of(case):
    return [point_of(wild, case, seed) for seed in (0, 1)]


# -- every planted mistake


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_the_first_verified_edit_of_a_planted_mistake_is_of_its_class(planted):
    module, points = with_planted(planted), points_of(planted.case)
    wrong, right = (getattr(m, f"{planted.case}_backward") for m in (module, wild))
    assert next(verified(iter((as_edit(wrong),)), right, points), None) is None, "the mistake must be one"
    first = next(verified(edits(wrong, copy.deepcopy(points[0])), right, points), None)
    assert first is not None
    assert first.mistake == planted.mistake, first


def as_edit(backward):
    return types.SimpleNamespace(backward=backward)


def test_at_least_forty_mistakes_of_at_least_twenty_classes_are_planted():
    assert len(set(PLANTED)) == len(PLANTED) >= 40
    assert len({planted.mistake for planted in PLANTED}) >= 20


def test_a_term_of_many_factors_that_was_left_out_is_not_made_up():
    term = " - x * np.sum(dout * x, axis=1, keepdims=True) / n**3"
    wrong = with_planted(Planted("reciprocal_norm", "C8", term, "")).reciprocal_norm_backward
    points = points_of("reciprocal_norm")
    assert list(verified(edits(wrong, points[0]), wild.reciprocal_norm_backward, points)) == []


def test_a_mistake_that_was_not_planted_is_noticed():
    with pytest.raises(ValueError, match="must hold") as caught:
        with_planted(Planted("affine", "A1", "no such text", ""))
    assert str(caught.value) == "affine_backward must hold 'no such text' once, but holds it 0 times."


# -- what an edit says


def test_an_edit_names_its_line_and_what_stands_there_before_and_after():
    module = with_planted(Planted("rnn", "G1", "dh[:, t] + dh_next", "dh[:, t]"))
    points = points_of("rnn")
    edit = next(verified(edits(module.rnn_backward, points[0]), wild.rnn_backward, points))
    assert (edit.mistake, edit.function) == ("G1", "rnn_backward")
    assert (edit.before, edit.after) == ("dh_t = dh[:, t]", "dh_t = dh[:, t] + dh_next")
    assert linecache.getline(edit.file, edit.line).strip() == "dh_t = dh[:, t]"


def test_a_long_statement_is_cut_around_the_change():
    for edit in edits(wild.lstm_step_backward):
        assert len(edit.before) <= 70
        assert len(edit.after) <= 70
        assert edit.before != edit.after


def test_edits_come_by_rank():
    ranks = [edit.rank for edit in edits(wild.mlp_backward, point_of(wild, "mlp"))]
    assert len(ranks) > 100
    assert ranks == sorted(ranks)


def test_no_edit_comes_twice():
    found = [(edit.line, edit.before, edit.after) for edit in edits(wild.affine_backward, point_of(wild, "affine"))]
    assert len(found) == len(set(found)) > 100


def test_an_edit_is_made_when_it_is_asked_for():
    calls = []

    def backward(dout, cache):
        calls.append(dout)
        return -dout * cache

    iterator = edits(backward, (np.ones(3), np.ones(3)))
    assert calls == []
    next(iterator)
    assert len(calls) == 1, "one run shows the shapes"


def test_shapes_forbid_what_cannot_be():
    blind = [edit for edit in edits(wild.square_affine_backward) if edit.mistake == "B1"]
    seeing = [edit for edit in edits(wild.affine_backward, point_of(wild, "affine")) if edit.mistake == "B1"]
    assert len(blind) > len(seeing) > 0


@pytest.mark.parametrize("case", ["lstm", "gru", "rnn", "conv_naive", "batchnorm_staged"])
def test_a_backward_has_at_most_twenty_six_hundred_edits(case):
    assert len(list(edits(getattr(wild, f"{case}_backward"), point_of(wild, case)))) <= 2600


def test_a_traceback_through_an_edit_names_the_line_of_the_file():
    point = point_of(wild, "affine")
    edit = next(e for e in edits(wild.affine_backward) if e.after == "dx = np.dot(dout, w).reshape(x.shape)")
    with pytest.raises(ValueError, match="not aligned") as caught:
        edit.backward(*point)
    last = [frame for frame in traceback.extract_tb(caught.value.__traceback__) if frame.filename == wild.__file__][-1]
    assert (last.lineno, last.line, last.name) == (
        edit.line,
        "dx = np.dot(dout, w.T).reshape(x.shape)",
        "affine_backward",
    )


# -- nothing of the user's changes


@pytest.mark.parametrize("case", ["layered", "dense", "scale", "linear_vjp", "rnn"])
def test_functions_modules_and_the_example_are_left_as_they_were(case):
    module = module_of(linecache_text(), f"<unchanged {case}>")
    backward, example = getattr(module, f"{case}_backward"), point_of(wild, case)
    names, kept = dict(vars(module)), copy.deepcopy(example)
    methods = methods_of(names)
    codes = {name: f.__code__ for name, f in names.items() if isinstance(f, types.FunctionType)}
    before = backward(*copy.deepcopy(example))
    with np.errstate(all="ignore"):
        for edit in list(edits(backward, example))[::7]:
            with contextlib.suppress(Exception):
                edit.backward(*copy.deepcopy(example))
    assert vars(module) == names
    assert methods_of(names) == methods
    assert {name: f.__code__ for name, f in names.items() if isinstance(f, types.FunctionType)} == codes
    assert alike(example[0], kept[0])
    assert alike(backward(*example), before)


def methods_of(names):
    """Return what the classes among ``names`` hold, without what ``copy`` keeps there for itself."""
    kinds = {name: kind for name, kind in names.items() if isinstance(kind, type)}
    return {name: {k: v for k, v in vars(kind).items() if k != "__slotnames__"} for name, kind in kinds.items()}


def linecache_text():
    return "".join(linecache.getlines(wild.__file__))


def test_a_bound_method_is_edited_and_its_object_is_not():
    module = with_planted(Planted("dense", "A2", "self.x.T @ dz", "self.x.T @ dz / len(dz)", "Dense"))
    layer = module.Dense(np.ones((3, 4)), np.ones(4))
    layer.forward(np.ones((5, 3)))
    attributes = dict(vars(layer))
    found = [edit for edit in edits(layer.backward, (np.ones((5, 4)),)) if edit.after == "self.dW = self.x.T @ dz"]
    assert [edit.function for edit in found] == ["Dense.backward"]
    assert vars(layer).keys() == attributes.keys()
    assert all(vars(layer)[name] is value for name, value in attributes.items())


def test_cells_and_defaults_are_those_of_the_original():
    factor = 2.0

    def backward(dout, cache, *, power=3):
        return dout * factor * cache**power

    changed = next(edit for edit in edits(backward) if edit.after == "return -(dout * factor * cache ** power)")
    assert changed.backward(1.0, 2.0) == -16.0
    factor = 5.0
    assert changed.backward(1.0, 2.0) == -40.0
    assert changed.backward(1.0, 2.0, power=1) == -10.0


def test_a_global_that_changes_later_is_seen_by_the_copy_of_a_caller():
    module = module_of(
        "scale = 2.0\ndef helper(d):\n    return d * 3.0\n"
        "def backward(dout, cache):\n    return helper(dout) * scale\n",
        "<live globals>",
    )
    changed = next(edit for edit in edits(module.backward) if edit.after == "return -(d * 3.0)")
    assert changed.backward(1.0, None) == -6.0
    module.scale = 10.0
    assert changed.backward(1.0, None) == -30.0
    assert module.backward(1.0, None) == 30.0


# -- what is looked through


def recorded(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@recorded
def decorated_backward(dout, cache):
    return -dout * np.cos(cache)


@functools.lru_cache
def cached_factor(power):
    return 2.0 * power


def through_a_cached_helper(dout, cache):
    return dout * cache * cached_factor(3)


def test_a_decorated_function_is_edited_inside_its_wrapper():
    point = point_of(wild, "sine")
    edit = next(verified(edits(decorated_backward, point), wild.sine_backward, [point]))
    assert (edit.mistake, edit.after) == ("A1", "return dout * np.cos(cache)")
    assert edit.backward.__name__ == "decorated_backward"


def test_a_partial_and_a_cached_helper_are_looked_through():
    assert any(edit.function == "keyword_backward" for edit in edits(wild.partial_backward, point_of(wild, "sine")))
    assert any(edit.function == "cached_factor" for edit in edits(through_a_cached_helper))


def layer_pair(module):
    rng = np.random.default_rng(3)
    layer = module.Dense(rng.standard_normal((3, 4)), rng.standard_normal(4))
    forward, backward = from_layer(layer, parameters={"W": "dW", "b": "db"})
    _, cache = forward(rng.standard_normal((5, 3)), {"W": layer.W, "b": layer.b})
    return backward, (rng.standard_normal((5, 4)), cache)


def test_the_layer_behind_from_layer_is_edited():
    module = with_planted(Planted("dense", "B4", "dz.sum(axis=0)", "dz.sum(axis=1)", "Dense"))
    (wrong, point), (right, right_point) = layer_pair(module), layer_pair(wild)
    truth = right(*right_point)
    found = [e for e in edits(wrong, point) if e.mistake == "B4" and e.after == "self.db = dz.sum(axis=0)"]
    assert [edit.line for edit in found] == [line_of("self.db = dz.sum(axis=0)")]
    assert alike(found[0].backward(*point), truth)


def line_of(text):
    return next(i for i, line in enumerate(linecache.getlines(wild.__file__), 1) if line.strip() == text)


def test_the_vjps_behind_from_vjp_are_edited():
    _, backward = from_vjp(lambda x, y: x * y, lambda ans, x, y: lambda g: g * y, lambda ans, x, y: lambda g: -g * x)
    truth = (np.float64(30.0), np.float64(20.0))
    forward, _ = from_vjp(lambda x, y: x * y, lambda ans, x, y: lambda g: g)
    _, cache = forward(2.0, 3.0)
    found = list(verified(edits(backward, (10.0, cache)), lambda *_: truth, [(10.0, cache)]))
    assert "A1" in {edit.mistake for edit in found}


def quartic(x):
    return (x**4).sum()


def wrong_gradient_of_quartic(x):
    return 4 * x**2


def test_the_gradient_behind_from_value_and_gradient_is_edited():
    forward, backward = from_value_and_gradient(quartic, wrong_gradient_of_quartic)
    x = np.arange(1.0, 5.0)
    _, cache = forward(x)
    edit = next(verified(edits(backward, (1.5, cache)), lambda d, c: d * 4 * x**3, [(1.5, cache)]))
    assert (edit.mistake, edit.after) == ("C3", "return 4 * x ** 3")


def wrong_least_squares(W, X, y):
    residual = X @ W - y
    loss = 0.5 * (residual**2).sum() / len(X)
    grad = X.T @ residual
    return loss, grad


def test_the_loss_behind_from_loss_and_grad_is_edited_in_the_forward():
    forward, backward = from_loss_and_grad(wrong_least_squares)
    rng = np.random.default_rng(0)
    args = (rng.standard_normal(3), rng.standard_normal((5, 3)), rng.standard_normal(5))
    loss, cache = forward(*args)
    assert list(edits(backward, (1.5, cache))) == []
    truth = 1.5 * args[1].T @ (args[1] @ args[0] - args[2]) / 5
    for edit in edits(backward, (1.5, cache), forward=forward, args=args):
        assert edit.backward is backward
        try:
            value, changed = edit.forward(*args)
            if value == loss and alike(backward(1.5, changed), truth):
                break
        except Exception:  # noqa: BLE001, S112 (an edit may raise anything)
            continue
    else:
        pytest.fail("no edit gives the gradient and leaves the loss alone")
    assert (edit.mistake, edit.after) == ("A2", "grad = X.T @ residual / X.shape[0]")


def test_functions_of_numpy_and_of_gradcheck_are_not_edited():
    backward, point = layer_pair(wild)
    assert {edit.function for edit in edits(backward, point)} == {"Dense.backward"}
    assert list(edits(np.sum)) == []


# -- what has no source


def test_a_lambda_is_found_among_others_of_its_line():
    first, second = lambda d, c: d * c, lambda d, c: d * c
    assert source_of(first).tree.body[0].value.col_offset < source_of(second).tree.body[0].value.col_offset
    assert [e.after for e in edits(second) if e.mistake == "A1"][:1] == ["return -(d * c)"]


def test_what_was_made_by_exec_has_no_source_and_no_edits():
    namespace = {}
    exec("def backward(dout, cache):\n    return -dout", namespace)  # noqa: S102 (this is what is tested)
    assert list(edits(namespace["backward"])) == []
    with pytest.raises(NoSource) as caught:
        source_of(namespace["backward"])
    assert str(caught.value) == "backward must come from a file or a cell, but <string> holds no lines."


def test_a_file_that_has_changed_since_has_no_source():
    module = module_of("def backward(dout, cache):\n    return -dout\n", "<changed>")
    module_of("def backward(dout, cache):\n    return +dout\n", "<changed>")
    with pytest.raises(NoSource) as caught:
        source_of(module.backward)
    assert str(caught.value) == "backward must be found once at line 1, but <changed> has changed since."


def test_what_is_written_in_c_has_no_source():
    with pytest.raises(NoSource) as caught:
        source_of(abs)
    assert str(caught.value) == "<built-in function abs> must be a Python function to have a source, but is none."


# -- loops, and names of classes

WHILE = """
def backward(dout, cache):
    n = 0
    total = dout
    while n < 3:
        total = total * 2.0
        n += 1
    return total
"""


def test_edits_of_what_the_test_of_a_while_loop_depends_on_end():
    module = module_of(WHILE, "<while>")
    found = list(edits(module.backward, (np.ones(3), None)))
    assert {edit.before for edit in found} >= {"total = dout", "total = total * 2.0", "return total", "n += 1"}
    for edit in found:
        with contextlib.suppress(Exception):
            edit.backward(np.ones(3), None)


MANGLED = """
class Layer:
    def __init__(self):
        self.__W = 3.0
    def backward(self, dout, cache):
        return -dout * self.__W
"""


def test_names_that_a_class_mangles_are_those_of_the_class():
    module = module_of(MANGLED, "<mangled>")
    edit = next(e for e in edits(module.Layer().backward) if e.after == "return dout * self.__W")
    assert edit.backward(2.0, None) == 6.0


SUPER = """
class Base:
    def backward(self, dout, cache):
        return dout * cache
class Layer(Base):
    def backward(self, dout, cache):
        return -super().backward(dout, cache)
"""


def test_a_method_that_calls_super_is_edited():
    module = module_of(SUPER, "<super>")
    edit = next(e for e in edits(module.Layer().backward) if e.after == "return super().backward(dout, cache)")
    assert edit.backward(2.0, 3.0) == 6.0


ALIAS = """
import numpy
def backward(dout, cache):
    return dout * numpy.sin(cache)
"""


def test_numpy_under_another_name_is_spoken_of_by_that_name():
    module = module_of(ALIAS, "<alias>")
    point = point_of(wild, "sine")
    edit = next(verified(edits(module.backward, point), lambda d, x: d * np.sin(x) * np.cos(x), [point]))
    assert edit.after == "dout = dout * numpy.cos(cache); return dout * numpy.sin(cache)"
