import numpy as np
import pytest

from gradcheck.steps.known import numbers, read

X = np.ones((5, 3))
NAMED = [("x", X), ("config", {"lr": 0.3, "size": 7, "on": True, "name": "net"})]
KNOWN = numbers(NAMED, np.ones((5, 4)))


@pytest.mark.parametrize(
    ("factor", "said", "mistake"),
    [
        (5.0, "x.shape[0]", "A2"),
        (0.2, "1/x.shape[0]", "A2"),
        (3.0, "x.shape[1]", "A2"),
        (4.0, "out.shape[1]", "A2"),
        (15.0, "x.size", "A2"),
        (2.0, "2", "A4"),
        (-1.0, "-1", "A1"),
        (-5.0, "-x.shape[0]", "A1"),
        (0.3, "config['lr']", "A4"),
        (0.7, "(1 - config['lr'])", "A4"),
        (7.0, "config['size']", "A5"),
        (49.0, "config['size']²", "A5"),
        (0.09, "config['lr']²", "A4"),
    ],
)
def test_a_factor_is_read_as_the_plainest_number_that_it_is(factor, said, mistake):
    number = read(factor, KNOWN)
    assert (number.said, number.mistake) == (said, mistake)


def test_a_factor_that_is_no_number_in_sight_is_not_read():
    assert read(0.1234, KNOWN) is None
    assert read(1.0, KNOWN) is None


def test_a_setting_that_is_no_number_or_not_finite_is_none():
    assert read(np.inf, numbers([("a", np.inf), ("b", np.nan), ("c", None)], np.ones(2))) is None


def test_how_many_entries_belong_to_one_of_the_output_is_the_area_of_a_window():
    number = read(9.0, numbers([("image", np.ones((2, 6, 6)))], np.ones((2, 2, 2))))
    assert (number.said, number.mistake) == ("image.size/out.size", "A5")
