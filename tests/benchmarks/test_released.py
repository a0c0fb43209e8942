import numpy as np
import pytest

from benchmarks import released
from benchmarks.packages.case import elementwise, with_vjp

X = np.array([0.3, -1.2, 0.7])


def sine(factor=1.0):
    return elementwise("sin", np.sin, lambda x: factor * np.cos(x), X)


def affine():
    def vjp(g, x, W):
        return g @ W.T, x.T @ g

    rng = np.random.default_rng(0)
    return with_vjp("affine", np.matmul, vjp, rng.standard_normal((3, 2)), rng.standard_normal((2, 4)))


def test_the_other_measurement_agrees_with_what_is_known():
    assert released.measured_error(sine(), 0) < 1e-9
    assert released.measured_error(sine(1 + 1e-6), 0) == pytest.approx(1e-6, rel=1e-3)
    assert released.measured_error(affine(), 0) < 1e-9


def test_every_argument_gets_every_plant_and_the_output_one():
    whats = [what for what, _, _ in released.plants(affine(), 0)]
    each = ["×(1+1e-06)", "×(1−1e-06)", "the sign", "one entry 0", "one entry ×(1+1e-3)"]
    assert whats == [f"argument {i}: {what}" for i in (0, 1) for what in each] + ["one entry of the output left out"]


def test_a_plant_changes_the_gradient_by_what_it_says_also_in_fortran_order():
    case = affine()._replace(backward=lambda d, c: tuple(map(np.asfortranarray, affine().backward(d, c))))
    out, cache = case.forward(*case.args)
    right = case.backward(np.ones_like(out), cache)
    for what, wrong, _ in released.plants(case, 0):
        given = wrong(np.ones_like(out), cache)
        apart = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(given, right, strict=True)]
        assert max(apart) > 1e-7, what


def test_a_plant_says_how_large_it_is():
    sizes = {what.partition(": ")[2]: size for what, _, size in released.plants(sine(), 0)}
    assert sizes["the sign"] == pytest.approx(2)
    assert sizes["×(1+1e-06)"] == pytest.approx(1e-6)
    assert 1e-3 * sizes["one entry 0"] == pytest.approx(sizes["one entry ×(1+1e-3)"])


def test_an_argument_without_effect_gets_no_plant():
    case = with_vjp("first", lambda x, y: x + 0 * y, lambda g, x, y: (g, 0 * g), X, X)
    assert not any(what.startswith("argument 1") for what, _, _ in released.plants(case, 0))


def test_in_float32_a_plant_is_larger():
    case = elementwise("sin", np.sin, np.cos, X)._replace(args=(X.astype(np.float32),))
    assert "argument 0: ×(1+0.01)" in [what for what, _, _ in released.plants(case, 0)]


def test_a_right_one_that_is_refused_and_a_wrong_one_that_passes_are_bad():
    outcome = released.Outcome("scipy", "f", released.RIGHT, "fail", 1e-8, "", 0.0, measured=1e-8)
    wrong = outcome._replace(what="the sign", verdict="pass")
    assert released.bad([outcome, wrong]) == ([outcome], [wrong])
    assert released.bad([outcome._replace(measured=1e-5), wrong._replace(verdict="inconclusive")]) == ([], [])


def test_a_function_that_does_not_run_or_is_not_finite_is_left_out(capsys):
    assert released.runs(sine())
    assert not released.runs(elementwise("log", np.log, lambda x: 1 / x, np.array([-1.0])))
    assert not released.runs(sine()._replace(backward=None))
    assert "left out: log, which is not finite" in capsys.readouterr().err


def test_a_run_counts_by_package_and_ends_with_1_where_something_is_missed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(released, "cases", lambda package, seed: iter([sine(), sine(1.01)]))
    path = tmp_path / "out.json"
    assert released.main(["--only", "scipy", "--seeds", "1", "--json", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "scipy                 2      1        1" in shown
    assert "0 right derivatives are refused, 0 wrong ones are missed, 0 of these by more than the pass says" in shown
    assert path.read_text().count('"verdict": "fail"') == 7
    monkeypatch.setattr(released, "examine_backward", lambda *a, **k: released_pass())
    assert released.main(["--only", "scipy", "--seeds", "1"]) == 1


def released_pass():
    from gradcheck import examine_backward

    return examine_backward(lambda x: (x, None), lambda d, _: d, (X,), seed=0)


def test_a_package_that_is_not_installed_is_named_and_not_counted(monkeypatch, capsys):
    monkeypatch.setattr(released, "missing", lambda package: True)
    assert released.main(["--only", "torch"]) == 0
    assert "torch is not installed: not counted" in capsys.readouterr().out


def test_the_cases_of_scipy_and_of_scikit_learn_run():
    for package, least in (("scipy", 200), ("sklearn", 90)):
        names = [case.name for case in released.cases(package, 0)]
        assert len(set(names)) == len(names) >= least
