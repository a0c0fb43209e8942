"""Mistakes in compositions: perceptrons, recurrent nets, LeNet-5."""

from tests.mutants.mistake import BARELY, mistakes

C1 = "X params['C1']"
C3 = f"{C1} params['S2'] params['C3']"
C5 = f"{C3} params['S4'] params['C5']"
ALL_OF_LENET = f"{C5} params['F6'] params['output']"

THROUGH_TIME = "X h0 Wxh Whh bh"
THROUGH_COLUMNS = "x h0 U W b"

NETWORKS = {
    "mlp": (
        *mistakes(
            "X layers",
            ("missing derivative everywhere", "dZ = sigma_backward(dA, sigma_cache)", "dZ = dA"),
            (
                "derivative applied twice",
                "sigma_backward(dA, sigma_cache)",
                "sigma_backward(sigma_backward(dA, sigma_cache), sigma_cache)",
            ),
            ("cotangent ignored", "loss_backward(dC, loss_cache)", "loss_backward(1.0, loss_cache)"),
            ("sign", "loss_backward(dC", "-loss_backward(dC"),
            ("barely", "loss_backward(dC", f"{BARELY} * loss_backward(dC"),
            (
                "divided by the batch twice",
                "loss_backward(dC, loss_cache)",
                "loss_backward(dC, loss_cache) / len(loss_cache[0])",
            ),
        ),
        *mistakes(
            "layers",
            ("last layer forgotten", "dlayers[::-1]", "dlayers[:0:-1]"),
            ("weights and biases exchanged", "(dW, db))", "(db, dW))"),
        ),
        *mistakes(
            "X",
            ("dX of the activation", "return dA, dlayers", "return dZ, dlayers"),
            ("dX zero", "return dA, dlayers", "return 0 * dA, dlayers"),
            ("dX without the last sample", "return dA, dlayers", "return np.r_[dA[:-1], 0 * dA[-1:]], dlayers"),
        ),
        *mistakes("layers[0] layers[2]", ("layers in reverse order", "dlayers[::-1]", "dlayers")),
        *mistakes(
            "layers[0][1] layers[1][1] layers[2][1]",
            ("biases by mean for sum", "(dW, db))", "(dW, db / len(dA)))"),
        ),
        *mistakes(
            "layers[0][0] layers[1][0] layers[2][0]",
            ("weight decay that the forward has not", "(dW, db))", "(dW + 0.01 * affine_cache[1], db))"),
        ),
    ),
    "mlp_one_hidden": (
        *mistakes(
            "x W1 b1 W2 b2",
            ("missing derivative of f2", "da = f2_backward(dy, y_cache)", "da = dy"),
            ("sign of the loss", "dy = loss_backward", "dy = -loss_backward"),
            ("loss ignores the cotangent", "loss_backward(dL, E_cache)", "loss_backward(1.0, E_cache)"),
        ),
        *mistakes(
            "x W1 b1",
            ("missing derivative of f1", "dh = f1_backward(dz, z_cache)", "dh = dz"),
            (
                "derivative of f1 applied twice",
                "dh = f1_backward(dz, z_cache)",
                "dh = f1_backward(f1_backward(dz, z_cache), z_cache)",
            ),
        ),
        *mistakes(
            "W1 W2",
            ("weight decay forgotten", "dW1 + decay1, dW2 + decay2", "dW1, dW2"),
            ("weight decay for the data", "dW1 + decay1, dW2 + decay2", "decay1, decay2"),
            ("weight decay twice", "dW1 + decay1, dW2 + decay2", "dW1 + 2 * decay1, dW2 + 2 * decay2"),
            ("weight decay subtracted", "dW1 + decay1, dW2 + decay2", "dW1 - decay1, dW2 - decay2"),
            ("weight decay ignores the cotangent", "weight_decay_backward(dL", "weight_decay_backward(1.0"),
        ),
        *mistakes("W2", ("weight decay in one layer", "dW2 + decay2", "dW2")),
        *mistakes("b1", ("db1 barely", "dh, h_cache)", f"dh, h_cache)\n    db1 = {BARELY} * db1")),
        *mistakes(
            "x", ("dx of the hidden layer", "return dx,", "return dz,"), ("dx zero", "return dx,", "return 0 * dx,")
        ),
        *mistakes("b1 b2", ("db1 and db2 exchanged", "return dx, dW1, db1, dW2, db2", "return dx, dW1, db2, dW2, db1")),
    ),
    "rnn": (
        *mistakes(
            THROUGH_TIME,
            ("later steps dropped", "dh[t] + r", "dh[t]"),
            ("own output dropped", "dh[t] + r", "r"),
            ("missing derivative", "sigma_backward(dh_t, step_caches[t])", "dh_t"),
            ("derivative one step early", "step_caches[t])", "step_caches[t - 1])"),
            ("Whh not transposed", "Whh.T", "Whh"),
            ("forwards in time", "reversed(range(T))", "range(T)"),
            ("cut after the last step", "r = dz[t] @ Whh.T", "r = (t == T - 1) * dz[t] @ Whh.T"),
            ("barely through time", "r = dz[t]", f"r = {BARELY} * dz[t]"),
        ),
        *mistakes(
            "h0",
            ("dh0 without Whh", "dh0 = r", "dh0 = dz[0]"),
            ("dh0 zero", "dh0 = r", "dh0 = np.zeros_like(r)"),
        ),
        *mistakes(
            "Whh",
            ("dWhh of the last step", "h_before.T @ dz_flat", "h_before[-n:].T @ dz_flat[-n:]"),
            ("dWhh off by one in time", "h_before.T @ dz_flat", "h_before[n:].T @ dz_flat[:-n]"),
            ("dWhh transposed", "h_before.T @ dz_flat", "dz_flat.T @ h_before"),
            ("dWhh mean over time", "h_before.T @ dz_flat", "h_before.T @ dz_flat / T"),
        ),
        *mistakes(
            "X",
            ("dX with time and batch exchanged", "dX_flat.reshape(T, n, d)", "dX_flat.reshape(n, T, d).swapaxes(0, 1)"),
        ),
        *mistakes("Wxh Whh", ("dWxh and dWhh exchanged", "dh0, dWxh, dWhh,", "dh0, dWhh, dWxh,")),
        *mistakes("Whs", ("dWhs mean over time", "dWhs, dbs\n", "dWhs / T, dbs\n")),
        *mistakes("bs", ("dbs sign", "dWhs, dbs\n", "dWhs, -dbs\n")),
        *mistakes("bh", ("dbh of the first step", "dWhh, dbh,", "dWhh, dz[0].sum(axis=0),")),
    ),
    "rnn_columns": (
        *mistakes(
            THROUGH_COLUMNS,
            ("later steps dropped", "dh_from_y[t] + r", "dh_from_y[t]"),
            ("own output dropped", "dh_from_y[t] + r", "r"),
            ("missing derivative", "f_backward(dh_t, f_caches[t])", "dh_t"),
            ("derivative one step early", "f_caches[t])", "f_caches[t - 1])"),
            ("U not transposed", "U.T @", "U @"),
            ("forwards in time", "reversed(range(len(dy)))", "range(len(dy))"),
            ("missing derivative of g", "g_backward(dy, g_cache)", "dy"),
            ("barely through time", "r = U.T", f"r = {BARELY} * U.T"),
        ),
        *mistakes("x", ("dx shifted in time", "W.T @ dz", "np.roll(W.T @ dz, 1, axis=0)")),
        *mistakes("h0", ("dh0 without U", "dh0 = r", "dh0 = dz[0]"), ("dh0 zero", "dh0 = r", "dh0 = np.zeros_like(r)")),
        *mistakes(
            "U",
            ("dU off by one in time", "np.tensordot(dz, h_before,", "np.tensordot(dz[:-1], h_before[1:],"),
            ("dU of the last step", "np.tensordot(dz, h_before,", "np.tensordot(dz[-1:], h_before[-1:],"),
            ("dU transposed", "return dx, dh0, dU,", "return dx, dh0, dU.T,"),
        ),
        *mistakes("W", ("dW of the first column", "np.tensordot(dz, x,", "np.tensordot(dz[..., :1], x[..., :1],")),
        *mistakes(
            "b",
            ("db not summed over the columns", "axis=(0, 2))  # (B8)", "axis=0)"),
            ("db mean over time", "dz.sum(axis=(0, 2))", "dz.mean(axis=0).sum(axis=1)"),
        ),
    ),
    "lenet5": (
        *mistakes(
            C1,
            ("missing derivative of C1", "dC1 = tanh_backward(dY1, tanh1)", "dC1 = dY1"),
            ("derivative at a cotangent", "tanh_backward(dY1, tanh1)", "tanh_backward(dY1, dY1)"),
        ),
        *mistakes(f"{C1} params['S2']", ("missing derivative of S2", "tanh_backward(dX2, tanh2)", "dX2")),
        *mistakes(C3, ("barely through C3", "tanh_backward(dY3, tanh3)", f"{BARELY} * tanh_backward(dY3, tanh3)")),
        *mistakes(C5, ("missing derivative of C5", "tanh_backward(dY5, tanh5)[", "dY5[")),
        *mistakes(
            ALL_OF_LENET,
            (
                "loss ignores the cotangent",
                "softmax_cross_entropy_backward(dL, loss)",
                "softmax_cross_entropy_backward(1.0, loss)",
            ),
        ),
        *mistakes(
            "X",
            ("dX zero", "return dX,", "return 0 * dX,"),
            ("dX of C1", "return dX,", "return dC1,"),
            ("dX turned", "return dX,", "return dX[..., ::-1, ::-1],"),
        ),
        *mistakes(
            "params['S2'] params['S4']",
            ("poolings exchanged", '"S2": s2, "C3": c3, "S4": s4', '"S2": s4, "C3": c3, "S4": s2'),
        ),
        *mistakes(
            "params['output']",
            ("last layer scaled and negated", '"output": output', '"output": [output[0] / len(dZ), -output[1]]'),
        ),
        *mistakes("params['S4']", ("a layer forgotten", '"S4": s4, ', "")),
    ),
}
