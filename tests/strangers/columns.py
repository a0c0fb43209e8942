"""Nets whose samples are columns: deeplearning.ai's helpers and dictionaries, and Nielsen's lists of weights."""

import itertools

import numpy as np

from tests.strangers.case import Case, RightAlthough, from_cost, normal, planted


def linear_backward(dZ, cache):
    A_prev, W, _b = cache
    m = A_prev.shape[1]
    dW = 1.0 / m * np.dot(dZ, A_prev.T)
    db = 1.0 / m * np.sum(dZ, axis=1, keepdims=True)
    dA_prev = np.dot(W.T, dZ)
    return dA_prev, dW, db


def relu_backward(dA, cache):
    Z = cache
    dZ = np.array(dA, copy=True)
    dZ[Z <= 0] = 0
    return dZ


def sigmoid_backward(dA, cache):
    Z = cache
    s = 1 / (1 + np.exp(-Z))
    return dA * s * (1 - s)


def linear_activation_backward(dA, cache, activation):
    linear_cache, activation_cache = cache
    dZ = relu_backward(dA, activation_cache) if activation == "relu" else sigmoid_backward(dA, activation_cache)
    return linear_backward(dZ, linear_cache)


def L_model_forward(X, parameters):
    A, caches = X, []
    L = len(parameters) // 2
    for l in range(1, L + 1):
        W, b = parameters[f"W{l}"], parameters[f"b{l}"]
        Z = np.dot(W, A) + b
        caches.append(((A, W, b), Z))
        A = np.maximum(0, Z) if l < L else 1 / (1 + np.exp(-Z))
    return A, caches


def L_model_backward(AL, Y, caches):
    grads = {}
    L = len(caches)
    dAL = -(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL))
    dA, grads[f"dW{L}"], grads[f"db{L}"] = linear_activation_backward(dAL, caches[L - 1], "sigmoid")
    for l in reversed(range(L - 1)):
        dA, dW_temp, db_temp = linear_activation_backward(dA, caches[l], "relu")
        grads[f"dW{l + 1}"] = dW_temp
        grads[f"db{l + 1}"] = db_temp
    return grads


def L_layer_model(X, Y, parameters):
    AL, caches = L_model_forward(X, parameters)
    cost = -1 / Y.shape[1] * np.sum(Y * np.log(AL) + (1 - Y) * np.log(1 - AL))
    return cost, L_model_backward(AL, Y, caches)


def propagate_n(X, Y, parameters, lambd, D1, keep_prob):
    """The notebook on initialisation, regularisation and gradient checking: three layers written out."""
    m = X.shape[1]
    W1, b1, W2, b2, W3, b3 = parameters.values()
    Z1 = np.dot(W1, X) + b1
    A1 = np.maximum(0, Z1)
    A1 = A1 * D1 / keep_prob
    Z2 = np.dot(W2, A1) + b2
    A2 = np.tanh(Z2)
    Z3 = np.dot(W3, A2) + b3
    A3 = 1 / (1 + np.exp(-Z3))
    logprobs = -np.log(A3) * Y - np.log(1 - A3) * (1 - Y)
    cost = 1.0 / m * np.sum(logprobs)
    cost += lambd / (2 * m) * (np.sum(np.square(W1)) + np.sum(np.square(W2)) + np.sum(np.square(W3)))

    dZ3 = A3 - Y
    dW3 = 1.0 / m * np.dot(dZ3, A2.T) + (lambd * W3) / m
    db3 = 1.0 / m * np.sum(dZ3, axis=1, keepdims=True)
    dA2 = np.dot(W3.T, dZ3)
    dZ2 = dA2 * (1 - np.power(A2, 2))
    dW2 = 1.0 / m * np.dot(dZ2, A1.T) + (lambd * W2) / m
    db2 = 1.0 / m * np.sum(dZ2, axis=1, keepdims=True)
    dA1 = np.dot(W2.T, dZ2)
    dA1 = dA1 * D1
    dA1 = dA1 / keep_prob
    dZ1 = dA1 * (A1 > 0)
    dW1 = 1.0 / m * np.dot(dZ1, X.T) + (lambd * W1) / m
    db1 = 1.0 / m * np.sum(dZ1, axis=1, keepdims=True)
    return cost, {"dW1": dW1, "db1": db1, "dW2": dW2, "db2": db2, "dW3": dW3, "db3": db3}


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def sigmoid_prime(z):
    return sigmoid(z) * (1 - sigmoid(z))


def cost_derivative(output_activations, y):
    return output_activations - y


def backprop(x, y, biases, weights):
    """Return the cost of one image and the nablas, layer by layer."""
    nabla_b = [np.zeros(b.shape) for b in biases]
    nabla_w = [np.zeros(w.shape) for w in weights]
    activation = x
    activations = [x]
    zs = []
    for b, w in zip(biases, weights, strict=True):
        z = np.dot(w, activation) + b
        zs.append(z)
        activation = sigmoid(z)
        activations.append(activation)
    delta = cost_derivative(activations[-1], y) * sigmoid_prime(zs[-1])
    nabla_b[-1] = delta
    nabla_w[-1] = np.dot(delta, activations[-2].transpose())
    for l in range(2, len(biases) + 1):
        z = zs[-l]
        sp = sigmoid_prime(z)
        delta = np.dot(weights[-l + 1].transpose(), delta) * sp
        nabla_b[-l] = delta
        nabla_w[-l] = np.dot(delta, activations[-l - 1].transpose())
    return 0.5 * np.sum((activations[-1] - y) ** 2), nabla_b, nabla_w


def mini_batch(xs, ys, biases, weights):
    cost = 0.0
    nabla_b = [np.zeros(b.shape) for b in biases]
    nabla_w = [np.zeros(w.shape) for w in weights]
    for x, y in zip(xs, ys, strict=True):
        cost_x, delta_nabla_b, delta_nabla_w = backprop(x, y, biases, weights)
        cost += cost_x / len(xs)
        nabla_b = [nb + dnb / len(xs) for nb, dnb in zip(nabla_b, delta_nabla_b, strict=True)]
        nabla_w = [nw + dnw / len(xs) for nw, dnw in zip(nabla_w, delta_nabla_w, strict=True)]
    return cost, nabla_b, nabla_w


def backprop_with_a_product_of_columns(x, y, biases, weights):
    delta = cost_derivative(sigmoid(weights[0] @ x + biases[0]), y) * sigmoid_prime(weights[0] @ x + biases[0])
    return 0.5 * np.sum((sigmoid(weights[0] @ x + biases[0]) - y) ** 2), [delta], [delta * x.T]


def _pixels(rng, *shape):
    return rng.integers(-2, 3, size=shape)


def _parameters(rng, *sizes):
    pairs = [normal((out, into), (out, 1))(rng) for into, out in itertools.pairwise(sizes)]
    return {f"{name}{l}": array for l, (W, b) in enumerate(pairs, 1) for name, array in (("W", W / 2), ("b", b / 2))}


def deep(rng):
    return _pixels(rng, 3, 7), np.array([[1, 0, 0, 1, 0, 1, 1]]), _parameters(rng, 3, 5, 4, 1)


def regularised(rng):
    D1 = np.array([[1, 0, 1, 1, 1, 0, 1]] * 3 + [[0, 1, 1, 1, 0, 1, 1]] * 2)
    return *deep(rng), 0.7, D1, 0.8


def image(rng):
    biases, weights = list(normal((5, 1), (3, 1))(rng)), list(normal((5, 6), (3, 5))(rng))
    return _pixels(rng, 6, 1), np.array([[0], [1], [0]]), biases, weights


def images(rng):
    _, _, biases, weights = image(rng)
    return _pixels(rng, 4, 6, 1), np.eye(3, dtype=int)[[1, 0, 2, 1]][:, :, None], biases, weights


def one_layer(rng):
    return _pixels(rng, 6, 1), np.array([[0], [1], [0]]), [rng.standard_normal((3, 1))], [rng.standard_normal((3, 6))]


def _leaves(names, text="parameters[{!r}]"):
    return tuple(text.format(name) for name in names.split())


HELPERS = linear_backward, relu_backward, sigmoid_backward, linear_activation_backward, L_model_backward
ALL = "W1 b1 W2 b2 W3 b3"
OUTER, INNER = ("biases[1]", "weights[1]"), ("biases[0]", "weights[0]")


def _deep(name, mistake, wrong, *edits, **rest):
    pairs = from_cost(L_layer_model, planted(L_layer_model, *edits, helpers=HELPERS, source=rest.get("source", True)))
    return Case(f"L-layer model: {name}", *pairs, deep, mistake, _leaves(wrong), **rest)


def _three(name, mistake, wrong, *edits, **rest):
    pairs = from_cost(propagate_n, planted(propagate_n, *edits, source=rest.get("source", True)))
    return Case(f"three layers: {name}", *pairs, regularised, mistake, _leaves(wrong), **rest)


def _nielsen(name, right, args, mistake, wrong, *edits, **rest):
    helpers = (sigmoid, sigmoid_prime, cost_derivative) + ((backprop,) if right is mini_batch else ())
    pairs = from_cost(right, planted(right, *edits, helpers=helpers, source=rest.get("source", True)))
    return Case(f"Nielsen: {name}", *pairs, args, mistake, wrong, **rest)


CASES = (
    _deep("dW without 1/m", "A2", "W1 W2 W3", ("1.0 / m * np.dot(dZ, A_prev.T)", "np.dot(dZ, A_prev.T)")),
    _deep(
        "db summed over everything", "B4", "b1 b2 b3", ("np.sum(dZ, axis=1, keepdims=True)", "np.sum(dZ)"), source=False
    ),
    _deep(
        "divided by m at the loss as well",
        "A3",
        ALL,
        (
            "dAL = -(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL))",
            "dAL = -(np.divide(Y, AL) - np.divide(1 - Y, 1 - AL)) / Y.shape[1]",
        ),
        also=("A2",),
    ),
    _deep(
        "divided by m on the way down",
        "A3",
        "W1 b1 W2 b2",
        ("np.dot(W.T, dZ)", "1.0 / m * np.dot(W.T, dZ)"),
        source=False,
    ),
    _deep("no derivative of the relu", "C1", "W1 b1 W2 b2", ("    dZ[Z <= 0] = 0\n", "")),
    _deep(
        "sigmoid of a sigmoid",
        "C2",
        ALL,
        ("s = 1 / (1 + np.exp(-Z))", "s = 1 / (1 + np.exp(-1 / (1 + np.exp(-Z))))"),
        source=False,
    ),
    _deep("relu masked by dZ", "C2", "W1 b1 W2 b2", ("dZ[Z <= 0] = 0", "dZ[dZ <= 0] = 0"), also=("C3",)),
    _deep("dW for W on the way down", "B6", "W1 b1 W2 b2", ("np.dot(W.T, dZ)", "np.dot(dW.T, dZ)"), source=False),
    _deep(
        "sign of the loss",
        "A1",
        ALL,
        ("-(np.divide(Y, AL)", "(np.divide(Y, AL)"),
        ("np.divide(1 - Y, 1 - AL))", "np.divide(1 - Y, 1 - AL))"),
    ),
    _three(
        "the notebook's dW2",
        "A4",
        "W2",
        ("np.dot(dZ2, A1.T) + (lambd * W2) / m", "(np.dot(dZ2, A1.T) + lambd * W2) * 2"),
    ),
    _three("the notebook's db1", "A4", "b1", ("db1 = 1.0 / m", "db1 = 4.0 / m"), source=False),
    _three(
        "regulariser not divided by m",
        "D1",
        "W1 W2 W3",
        ("(lambd * W1) / m", "lambd * W1"),
        ("(lambd * W2) / m", "lambd * W2"),
        ("(lambd * W3) / m", "lambd * W3"),
    ),
    _three("regulariser forgotten in W2", "D1", "W2", (" + (lambd * W2) / m", ""), source=False),
    _three("biases regularised", "D2", "b1", ("    return cost, {", "    db1 += lambd * b1 / m\n    return cost, {")),
    _three(
        "dropout not backward", "E5", "W1 b1", ("    dA1 = dA1 * D1\n    dA1 = dA1 / keep_prob\n", ""), also=("A4",)
    ),
    _three(
        "dropout without 1/keep_prob", "E5", "W1 b1", ("    dA1 = dA1 / keep_prob\n", ""), also=("A4",), source=False
    ),
    _three("tanh derived as at Z", "C2", "W1 b1 W2 b2", ("np.power(A2, 2)", "np.power(Z2, 2)"), also=("C3",)),
    _three("dA2 for dZ2 in db2", "B6", "b2", ("np.sum(dZ2, axis=1", "np.sum(dA2, axis=1"), also=("C1",), source=False),
    _three("output's sigmoid derived again", "C6", ALL, ("dZ3 = A3 - Y", "dZ3 = (A3 - Y) * A3 * (1 - A3)")),
    _nielsen("derivative at the activation", backprop, image, "C2", INNER, ("z = zs[-l]", "z = activations[-l]")),
    _nielsen(
        "no derivative of the output",
        backprop,
        image,
        "C1",
        OUTER + INNER,
        (" * sigmoid_prime(zs[-1])", ""),
        source=False,
    ),
    _nielsen(
        "target minus output",
        backprop,
        image,
        "A1",
        OUTER + INNER,
        ("output_activations - y", "y - output_activations"),
    ),
    _nielsen(
        "sigmoid for its derivative",
        backprop,
        image,
        "C3",
        OUTER + INNER,
        ("sigmoid(z) * (1 - sigmoid(z))", "sigmoid(z)"),
        source=False,
    ),
    _nielsen(
        "factor 2 that the cost has not",
        backprop,
        image,
        "A4",
        OUTER + INNER,
        ("return output_activations - y", "return 2 * (output_activations - y)"),
    ),
    _nielsen(
        "the last image only",
        mini_batch,
        images,
        "E1",
        OUTER + INNER,
        ("nb + dnb", "dnb"),
        ("nw + dnw", "dnw"),
        source=False,
    ),
    _nielsen(
        "sum for the mean of the batch",
        mini_batch,
        images,
        "A2",
        OUTER + INNER,
        ("dnb / len(xs)", "dnb"),
        ("dnw / len(xs)", "dnw"),
    ),
)

RIGHT_ALTHOUGH = (
    RightAlthough(
        "delta times a row",
        *from_cost(backprop_with_a_product_of_columns, backprop_with_a_product_of_columns)[:2],
        one_layer,
        "* must be np.dot.",
    ),
    RightAlthough(
        "1/m in dW alone", *from_cost(L_layer_model, L_layer_model)[:2], deep, "The 1/m of the cost is missing in dAL."
    ),
    RightAlthough(
        "A3 - Y",
        *from_cost(propagate_n, propagate_n)[:2],
        regularised,
        "The derivative of the output's sigmoid is missing.",
    ),
)
