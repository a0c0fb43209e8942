"""A wrong conjugate is found and named as such."""

import numpy as np
import pytest

from gradcheck import examine_backward

RNG = np.random.default_rng(1)
Z = RNG.standard_normal((3, 4)) + 1j * RNG.standard_normal((3, 4))
W = RNG.standard_normal((4, 2)) + 1j * RNG.standard_normal((4, 2))


def forward(z, w):
    return z @ w, (z, w)


def explained(backward, forward=forward, args=(Z, W)):
    report = examine_backward(forward, backward, args, seed=0)
    return [(each.mistake, each.arguments) for each in report.explanations], str(report)


def test_a_conjugate_that_is_missing_is_named_with_the_gradient_that_lacks_it():
    found, report = explained(lambda d, c: (d @ c[1].T, c[0].conj().T @ d))
    assert found == [("C9", ("z",))]
    assert 'or say convention="jax"' in report


def test_the_convention_of_jax_is_named_for_all_gradients():
    assert explained(lambda d, c: (d @ c[1].T, c[0].T @ d))[0] == [("C9", ("z", "w"))]


def test_a_gradient_that_is_returned_as_its_conjugate_is_named():
    found, report = explained(lambda d, c: (d @ c[1].conj().T, (c[0].conj().T @ d).conj()))
    assert found == [("C9", ("w",))]
    assert "returns the conjugate" in report


def test_a_cotangent_that_is_taken_for_its_conjugate_is_named():
    found, report = explained(lambda d, c: (d.conj() @ c[1].conj().T, c[0].conj().T @ d))
    assert found == [("C9", ("z",))]
    assert "the conjugate of the cotangent" in report


@pytest.mark.parametrize("factor", [1.5, 1j])
def test_another_mistake_is_no_conjugate(factor):
    assert ("C9", ("z",)) not in explained(lambda d, c: (factor * (d @ c[1].conj().T), c[0].conj().T @ d))[0]


def test_without_hints_nothing_is_asked():
    report = examine_backward(forward, lambda d, c: (d @ c[1].T, c[0].conj().T @ d), (Z, W), seed=0, hints=False)
    assert report.explanations == ()


def test_entries_are_named_by_their_part():
    def wrong(d, c):
        dz = d @ c[1].conj().T
        dz[1, 2] += 1j
        return dz, c[0].conj().T @ d

    finding = examine_backward(forward, wrong, (Z, W), seed=0).arguments["z"]
    assert [entry.name for entry in finding.wrong_entries] == ["dz.imag[1, 2]"]
    assert finding.where == ("dz.imag[1, 2]",)
