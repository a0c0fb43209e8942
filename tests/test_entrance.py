import pytest

from gradcheck.entrance import entrance


def told(wrong, right):
    """What is told of arguments, in the order of their names."""
    return entrance({path: path in wrong.split() for path in sorted([*wrong.split(), *right.split()])})


def test_an_error_enters_between_the_last_wrong_layer_and_the_first_right_one():
    assert told("W1 b1", "W2 b2") == "dW2 and db2 are right, dW1 and db1 are wrong: the error enters between them."
    assert told("W1", "W2") == "dW2 is right, dW1 is wrong: the error enters between them."


def test_of_a_long_chain_the_two_layers_on_both_sides_are_named():
    assert told("W1 W2 W9", "W10 W11") == "dW10 is right, dW9 is wrong: the error enters between them."


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("W1", "b1 W2 b2"),  # one argument of a layer is a mistake of its own
        ("W1 b1 W2", "b2"),
        ("W1 W3", "W2"),  # what comes later is wrong too
        ("W2", "W1"),  # what comes earlier is right
        ("W1 b1 W2 b2", ""),
        ("", "W1 b1 W2 b2"),
        ("W1 b1", ""),
        ("W b", "V c"),  # names without numbers
    ],
)
def test_where_the_arguments_do_not_tell_nothing_is_said(wrong, right):
    assert told(wrong, right) is None


def test_arguments_without_a_number_belong_to_no_layer():
    assert told("x W1", "W2 t") == told("W1", "W2 x t") == told("W1", "W2")


def test_names_in_containers_have_numbers_too():
    assert entrance({"params['W1']": True, "params['b1']": True, "params['W2']": False}) == (
        "dparams['W2'] is right, dparams['W1'] and dparams['b1'] are wrong: the error enters between them."
    )
    assert entrance({"layers[0][0]": True, "layers[0][1]": True, "layers[1][0]": False}) == (
        "dlayers[1][0] is right, dlayers[0][0] and dlayers[0][1] are wrong: the error enters between them."
    )
    assert entrance({"params['C3'][0]": True, "params['C5'][0]": False}) == (
        "dparams['C5'][0] is right, dparams['C3'][0] is wrong: the error enters between them."
    )


def test_of_many_arguments_of_a_layer_some_are_named():
    assert entrance({f"{name}{layer}": layer == 1 for layer in (1, 2) for name in "ABCDE"}) == (
        "dA2, dB2, dC2 and 2 more are right, dA1, dB1, dC1 and 2 more are wrong: the error enters between them."
    )
