"""Gradient descent with hand-written gradients: step by step what JAX does, and networks that learn."""

import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from derivations import descent, train
from derivations.descent import (
    arguments,
    batches,
    clipped,
    decay_of_weights,
    descend,
    loss_and_gradients,
    norm,
    scale,
    step,
)
from derivations.lenet5 import LENET5
from derivations.mlp import MLP
from derivations.mlp_one_hidden import MLP_ONE_HIDDEN, mlp_one_hidden_args
from derivations.rnn import RNN
from gradcheck import point
from gradcheck.trees import leaves, rebuild

STEPS = 60
LEARNT = {"mlp": ("layers",), "lenet5": ("params",), "rnn": ("Wxh", "Whh", "bh", "Whs", "bs")}
SIZES = {
    "mlp": {"depth": 3, "N": 8, "D": 7, "M": 5, "K": 4, "activation": "tanh", "loss": "softmax_cross_entropy"},
    "lenet5": {"N": 2},
    "rnn": {"T": 5, "n": 3, "d": 6, "h": 8, "V": 7, "activation": "tanh"},
}
RATES = {"mlp": 0.3, "lenet5": 0.1, "rnn": 0.3}
NETWORKS = {network.name: network for network in (MLP, LENET5, RNN)}


def problem(network, seed=0):
    """Return parameters to start from, and three batches to go through again and again."""
    draws = [arguments_of(network, point(network.spec, 3 * seed + i, **SIZES[network.name])) for i in range(3)]
    learnt = LEARNT[network.name]
    params = {name: draws[0][name] for name in learnt}
    data = [{name: value for name, value in draw.items() if name not in learnt} for draw in draws]
    return params, [data[i % 3] for i in range(STEPS)]


def arguments_of(network, args):
    return dict(zip(inspect.signature(network.forward).parameters, args, strict=True))


def each_leaf(function, tree):
    return rebuild(tree, iter([function(leaf) for _, leaf in leaves(tree, "")]))


def trajectory_of_jax(network, params, data, rate, decay, clip, reduction):
    """The same descent written anew on JAX's gradients of the reference, in float64."""
    settings = {name: value for name, value in data[0].items() if isinstance(value, str)}

    def loss(params, arrays):
        args = arguments(network, params, arrays | settings)
        return network.reference(*args.values())

    @jax.jit
    def update(params, arrays, s):
        value, gradients = jax.value_and_grad(lambda params: s * loss(params, arrays))(params)
        length = jnp.sqrt(sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(gradients)))
        shrink = jnp.minimum(1, clip / length)
        moved = jax.tree.map(lambda p, g, a, l: p - a * (shrink * g + l * p), params, gradients, rate_tree, decay_tree)
        return moved, value

    rate_tree, decay_tree = (
        tree if isinstance(tree, dict) else each_leaf(lambda _, tree=tree: tree, params) for tree in (rate, decay)
    )
    with jax.enable_x64(True):
        for batch in data:
            arrays = {name: jnp.asarray(value) for name, value in batch.items() if name not in settings}
            params, value = update(params, arrays, scale(network, batch, reduction))
            yield jax.tree.map(np.asarray, params), float(value)


def farthest(params, others):
    """Return the largest distance of two leaves of one path relative to the norm of the second."""
    others = dict(leaves(others, ""))  # JAX sorts the keys of a dict
    return max(np.linalg.norm(one - others[path]) / np.linalg.norm(others[path]) for path, one in leaves(params, ""))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("every_setting", [False, True], ids=["plain", "every-setting"])
def test_the_trajectory_is_that_of_jax_step_by_step(name, every_setting):
    network = NETWORKS[name]
    params, data = problem(network)
    settings = {"rate": RATES[name], "decay": 0.0, "clip": np.inf, "reduction": "mean"}
    if every_setting:
        rng = np.random.default_rng(1)
        settings = {
            "rate": each_leaf(lambda leaf: RATES[name] / 10 * rng.uniform(0.1, 1, leaf.shape), params),
            "decay": decay_of_weights(params, 0.05),
            "clip": 2.0,
            "reduction": "sum",
        }
    ours = list(descend(network, params, data, **settings))
    jaxs = list(trajectory_of_jax(network, params, data, **settings))
    assert len(ours) == len(jaxs) == STEPS >= 50
    for (after, loss), (expected, expected_loss) in zip(ours, jaxs, strict=True):
        assert loss == pytest.approx(expected_loss, rel=1e-10)
        assert farthest(after, expected) < 1e-10
    assert farthest(ours[-1].params, params) > 0.01
    assert np.mean([loss for _, loss in ours[-3:]]) < np.mean([loss for _, loss in ours[:3]])
    if every_setting:
        clipped_steps = [
            norm(loss_and_gradients(network, params, data[0], scale(network, data[0], "sum"))[1]) > 2
            for params, _ in ours
        ]
        assert any(clipped_steps)


def test_a_wrong_step_leaves_the_trajectory_of_jax():
    params, data = problem(MLP)
    expected = list(trajectory_of_jax(MLP, params, data, 0.3, 0.0, np.inf, "mean"))
    for wrong in ({"rate": 0.3 * (1 + 1e-8)}, {"rate": 0.3, "decay": 1e-8}, {"rate": -0.3}, {"rate": 0.3, "clip": 0.1}):
        *_, last = descend(MLP, params, data, **wrong)
        assert farthest(last.params, expected[-1][0]) > 1e-10


# -- the parts of a step


def test_a_sum_over_the_batch_is_the_mean_times_its_size():
    for network in NETWORKS.values():
        params, (batch, *_) = problem(network)
        mean, sum_ = (
            loss_and_gradients(network, params, batch, scale(network, batch, reduction))
            for reduction in ("mean", "sum")
        )
        count = {"mlp": 8, "lenet5": 2, "rnn": 15}[network.name]
        assert sum_[0] == pytest.approx(count * mean[0])
        assert farthest(sum_[1], each_leaf(lambda leaf, count=count: count * leaf, mean[1])) < 1e-12


def test_weight_decay_in_the_step_is_weight_decay_in_the_loss():
    x, W1, b1, W2, b2, target, _, *kinds = mlp_one_hidden_args(
        np.random.default_rng(0), 5, 7, 4, 3, 0.1, "tanh", "softmax", "cross_entropy"
    )
    params = {"W1": W1, "b1": b1, "W2": W2, "b2": b2}
    data = {"x": x, "target": target, **dict(zip(("f1", "f2", "loss"), kinds, strict=True))}
    *_, (in_loss, _) = descend(MLP_ONE_HIDDEN, params, [data | {"lam": 0.1}] * 20, 0.05, reduction="sum")
    decay = decay_of_weights(params, 0.1)
    *_, (in_step, _) = descend(MLP_ONE_HIDDEN, params, [data | {"lam": 0.0}] * 20, 0.05, decay=decay, reduction="sum")
    assert farthest(in_step, in_loss) < 1e-13


def test_every_weight_moves_by_its_own_rate():
    params = {"W": np.ones((2, 2)), "b": np.ones(2)}
    after = step(params, {"W": np.full((2, 2), 2.0), "b": np.ones(2)}, {"W": np.array([[0, 1], [2, 3]]), "b": 0.5})
    np.testing.assert_array_equal(after["W"], [[1, -1], [-3, -5]])
    np.testing.assert_array_equal(after["b"], [0.5, 0.5])
    np.testing.assert_array_equal(params["W"], 1)


def test_clipping_keeps_the_direction_of_all_gradients_together_and_shortens_only_the_long():
    gradients = {"W": np.array([[3.0, 0.0]]), "layers": [(np.array([4.0]),)]}
    assert norm(gradients) == 5
    short = clipped(gradients, 1.0)
    np.testing.assert_allclose(short["W"], [[0.6, 0.0]])
    np.testing.assert_allclose(short["layers"][0][0], [0.8])
    np.testing.assert_array_equal(clipped(gradients, 6.0)["W"], gradients["W"])
    np.testing.assert_array_equal(clipped({"W": np.zeros(2)}, 1.0)["W"], 0)


def test_biases_do_not_decay():
    assert decay_of_weights({"layers": [(np.ones((2, 3)), np.ones(3))]}, 0.1) == {"layers": [(0.1, 0)]}


def test_an_epoch_meets_every_sample_once():
    epoch = list(batches(np.random.default_rng(0), 10, 4))
    assert [len(batch) for batch in epoch] == [4, 4, 2]
    assert sorted(np.concatenate(epoch)) == list(range(10))


@pytest.mark.parametrize(("rate", "held"), [({"W": 0.1}, "['W']"), ({}, "none")])
def test_a_rate_of_another_structure_is_refused(rate, held):
    with pytest.raises(ValueError) as caught:
        step({"W": np.ones(2), "b": np.ones(1)}, {"W": np.ones(2), "b": np.ones(1)}, rate)
    assert str(caught.value) == (
        f"rate must be a number or hold the leaves of params, ['W'], ['b'], but it holds {held}. "
        "Give it the structure of params."
    )


def test_a_loss_that_is_not_finite_ends_the_descent():
    params, data = problem(RNN)
    params["bs"] = np.full(7, np.nan)
    with pytest.raises(FloatingPointError) as caught:
        next(descend(RNN, params, data, 0.1))
    assert str(caught.value) == "descend must meet finite losses, but met nan. Lower the rate, or clip."


def test_every_equation_is_one_line_of_code_and_back():
    _, docstring, code = Path(descent.__file__).read_text(encoding="utf-8").split('"""', 2)
    assert re.findall(r"  \((U\d)\)", docstring) == ["U1", "U2", "U3"]
    assert sorted(re.findall(r"# \((U\d)\)", code)) == ["U1", "U2", "U3"]


# -- the command


def printed(capsys):
    steps, losses, accuracies = capsys.readouterr().out.splitlines()
    first, last = map(float, re.findall(r"[\d.]+\d", losses))
    return steps, first, last, [float(share) for share in re.findall(r"([\d.]+)%", accuracies)]


def test_the_perceptron_learns_the_digits(capsys, tmp_path):
    picture = tmp_path / "loss.png"
    train.main(["mlp", "--picture", str(picture)])
    steps, first, last, (_, held_out) = printed(capsys)
    assert steps.startswith("mlp: 1800 steps in ")
    assert last < first / 10
    assert held_out >= 95
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_recurrent_net_learns_its_text(capsys):
    train.main(["rnn", "--epochs", "50"])
    _, first, last, (learnt, _) = printed(capsys)
    assert last < first / 2
    assert learnt > 60


def test_lenet5_learns_most_digits_in_one_epoch(capsys):
    train.main(["lenet5", "--epochs", "1", "--decay", "1e-4", "--clip", "5"])
    _, _, _, (_, held_out) = printed(capsys)
    assert held_out > 70


def test_held_out_data_is_not_learnt_from():
    task = train.TASKS["mlp"]
    data = task.data() | {"target": np.arange(1797)}
    learn, held_out = train.split(task, data, np.random.default_rng(0))
    assert len(held_out["target"]) == 359
    assert sorted([*learn["target"], *held_out["target"]]) == list(range(1797))
    np.testing.assert_array_equal(held_out["X"], data["X"][held_out["target"]])


@pytest.mark.parametrize("name", train.TASKS)
def test_accuracy_is_that_of_the_most_probable_class(name):
    task = train.TASKS[name]
    rng = np.random.default_rng(0)
    params, data = task.params(rng), train.rows(task, task.data(), np.arange(2))
    label = "target" if name == "mlp" else "labels"
    losses = []  # of every class, were it the label: the smallest is the most probable one's
    for index in np.ndindex(data[label].shape):
        for k in range(10 if name != "rnn" else data["X"].shape[2]):
            labels = data[label].copy()
            labels[index] = k
            losses.append(loss_and_gradients(task.network, params, data | {label: labels})[0])
    best = np.argmin(np.reshape(losses, (data[label].size, -1)), axis=1).reshape(data[label].shape)
    assert train.accuracy(task, params, data) == np.mean(best == data[label])
    assert train.accuracy(task, params, data | {label: best}) == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--epochs", "0"), "argument --epochs: must be 1 or more, but is 0. Raise it, or leave it out."),
        (("--rate", "-1"), "argument --rate: must be larger than 0, but is -1. Raise it, or leave it out."),
    ],
)
def test_an_option_out_of_range_is_refused(option, message, capsys):
    with pytest.raises(SystemExit):
        train.main(["mlp", *option])
    assert message in capsys.readouterr().err
