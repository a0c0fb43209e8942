"""Mistakes in a δ, by network: the η's whose δ's become wrong, which are those on the way back from the mistake on."""

from tests.mutants.mistake import BARELY, mistakes

BACK_THROUGH_LENET = ("Z", "Y6", "F6", "Y5", "C5", "X4", "S4", "Y3", "C3", "X2", "S2", "Y1", "C1")


def at(*places):
    """Return the paths of the η's at these places, as one string."""
    return " ".join(f"eta[{place!r}]" for place in places)


def from_on(place):
    """Return the paths of the η's of LeNet-5 that the way back comes to from this place on."""
    return at(*BACK_THROUGH_LENET[BACK_THROUGH_LENET.index(place) :])


DELTA_MISTAKES = {
    "mlp": (
        *mistakes(
            at("Z1", "Z2", "Z3"),
            ("missing derivative", "dZ = sigma_backward(dA, sigma_cache)", "dZ = dA", "C1"),
            ("sign of the loss", "loss_backward(dC", "-loss_backward(dC", "A1"),
            ("cotangent ignored", "loss_backward(dC, loss_cache)", "loss_backward(1.0, loss_cache)", "C5"),
            ("told with the activation", "dZs.append(dZ)", "dZs.append(sigma_backward(dZ, sigma_cache))", "C3 C6"),
        ),
        *mistakes(
            at("Z1", "Z2"),
            (
                "barely between layers",
                "affine_backward(dZ, affine_cache)",
                f"affine_backward({BARELY} * dZ, affine_cache)",
                "A4",
            ),
            (
                "batch divided by in every layer",
                "affine_backward(dZ, affine_cache)",
                "affine_backward(dZ / len(dZ), affine_cache)",
                "A3 A2",
            ),
        ),
        *mistakes(at("Z1", "Z3"), ("told in reverse order", "enumerate(reversed(dZs), 1)", "enumerate(dZs, 1)", "B5")),
    ),
    "mlp_one_hidden": (
        *mistakes(at("y", "a", "z", "h"), ("sign of the loss", "dy = loss_backward", "dy = -loss_backward", "A1")),
        *mistakes(at("a", "z", "h"), ("missing derivative of f2", "da = f2_backward(dy, y_cache)", "da = dy", "C1 C6")),
        *mistakes(
            at("z", "h"),
            ("barely through W2", "affine_backward(da, a_cache)", f"affine_backward({BARELY} * da, a_cache)", "A4"),
            (
                "derivative of f2 forgotten in dz",
                "affine_backward(da, a_cache)",
                "affine_backward(dy, a_cache)",
                "C1 B6",
            ),
            ("hidden places exchanged", "h=dh, z=dz", "h=dz, z=dh", "B5"),
        ),
        *mistakes(at("h"), ("missing derivative of f1", "dh = f1_backward(dz, z_cache)", "dh = dz", "C1")),
        *mistakes(at("y"), ("told behind f2", "y=dy)", "y=da)", "B6 C3 C4")),
    ),
    "lenet5": (
        *mistakes(
            from_on("Z"),
            (
                "cotangent ignored",
                "softmax_cross_entropy_backward(dL, loss)",
                "softmax_cross_entropy_backward(1.0, loss)",
                "C5",
            ),
        ),
        *mistakes(from_on("F6"), ("missing derivative of F6", "tanh_backward(dY6, tanh6)", "dY6", "C1")),
        *mistakes(from_on("C5"), ("missing derivative of C5", "tanh_backward(dY5, tanh5)[", "dY5[", "C1")),
        *mistakes(from_on("S4"), ("missing derivative of S4", "tanh_backward(dX4, tanh4)", "dX4", "C1")),
        *mistakes(
            from_on("C3"), ("barely in C3", "tanh_backward(dY3, tanh3)", f"{BARELY} * tanh_backward(dY3, tanh3)", "A4")
        ),
        *mistakes(
            from_on("X2"),
            ("kernels not turned", "conv_backward(dC3, conv3)", "conv_backward(dC3[..., ::-1, ::-1], conv3)", "F1"),
        ),
        *mistakes(from_on("S2"), ("missing derivative of S2", "tanh_backward(dX2, tanh2)", "dX2", "C1")),
        *mistakes(
            from_on("Y1"),
            (
                "sum for mean in the pooling",
                "pooling_trainable_backward(dS2, pool2)",
                "pooling_trainable_backward(4 * dS2, pool2)",
                "A5 A4",
            ),
        ),
        *mistakes(
            from_on("C1"),
            ("derivative at a cotangent", "tanh_backward(dY1, tanh1)", "tanh_backward(dY1, dY1)", "C2 C3"),
        ),
        *mistakes(at("Y6"), ("Y6 told behind the activation", "Y6=dY6", "Y6=dF6", "B6 C3 C4")),
    ),
    "rnn": (
        *mistakes(at("s", "z", "h"), ("sign of the loss", "ds = softmax", "ds = -softmax", "A1")),
        *mistakes(
            at("z", "h"),
            ("later steps dropped", "dh[t] + r", "dh[t]", "G1"),
            ("own output dropped", "dh[t] + r", "r", "C8 G2"),
            ("missing derivative", "sigma_backward(dh_t, step_caches[t])", "dh_t", "C1"),
            ("Whh not transposed", "Whh.T", "Whh", "B1"),
            ("barely through time", "r = dz[t]", f"r = {BARELY} * dz[t]", "A4"),
            ("places exchanged", "z=dz, h=dh", "z=dh, h=dz", "B5"),
        ),
        *mistakes(at("h"), ("only its own loss told", "dh_t = dh[t] = dh[t] + r", "dh_t = dh[t] + r", "G1 C8")),
        *mistakes(at("z"), ("first step barely", "step_caches[t])", "step_caches[t]) * (1 + 1e-5 * (t == 0))", "A4")),
        *mistakes(
            at("s"),
            (
                "scores shifted in time",
                "s=ds.reshape(T, n, -1)",
                "s=np.roll(ds, n, axis=0).reshape(T, n, -1)",
                "G3 F3 G2 B6",
            ),
        ),
    ),
    "rnn_columns": (
        *mistakes(
            at("z", "h"),
            ("later steps dropped", "dh_from_y[t] + r", "dh_from_y[t]", "G1"),
            ("own output dropped", "dh_from_y[t] + r", "r", "C8 G2"),
            ("missing derivative", "f_backward(dh_t, f_caches[t])", "dh_t", "C1"),
            ("U not transposed", "U.T @", "U @", "B1"),
            ("barely through time", "r = U.T", f"r = {BARELY} * U.T", "A4"),
            ("places exchanged", "z=dz, h=dh", "z=dh, h=dz", "B5"),
        ),
        *mistakes(at("h"), ("only its own output told", "h=dh)", "h=dh_from_y)", "G1 C8")),
        *mistakes(at("z"), ("first step barely", "f_caches[t])", "f_caches[t]) * (1 + 1e-5 * (t == 0))", "A4")),
    ),
}
