"""Mistakes in the two derived forms of backpropagation through time."""

from tests.mutants.mistake import BARELY, mistakes

EVERYTHING = "x h0 U W b"
DELTA = "delta = slopes[k] * np.einsum"

THROUGH_TIME = {
    "bptt_double_sum": (
        *mistakes(
            EVERYTHING,
            ("missing derivative at the loss", "delta = f_backward(e[t], f_caches[t])", "delta = e[t]"),
            ("missing derivative on the way", "f_backward(U.T @ delta, f_caches[k])", "U.T @ delta"),
            ("U not transposed", "f_backward(U.T @ delta", "f_backward(U @ delta"),
            (
                "slope of the step behind",
                "f_backward(U.T @ delta, f_caches[k])",
                "f_backward(U.T @ delta, f_caches[k + 1])",
            ),
            ("missing derivative of g", "e = g_backward(dy, g_cache)", "e = dy"),
            ("first step forgotten", "range(t, -1, -1)", "range(t, 0, -1)"),
            ("last loss alone", "for t in range(len(dy))", "for t in [len(dy) - 1]"),
            ("barely through time", "f_backward(U.T @ delta", f"f_backward({BARELY} * U.T @ delta"),
        ),
        *mistakes("U", ("printed without h", "dU += delta @ h_before[k].T", "dU += delta.sum(axis=1)[:, None]")),
        *mistakes("W", ("input of the loss's step", "x[k].T", "x[t].T")),
        *mistakes("b", ("bias of one sample", "delta.sum(axis=1)", "delta[:, 0]")),
        *mistakes("x", ("input of the loss's step alone", "dx[k] += W.T", "dx[t] += W.T")),
        *mistakes("h0", ("start without U", "dh0 += U.T @ delta", "dh0 += delta")),
    ),
    "bptt_jacobians": (
        *mistakes(
            "x U W b",
            ("missing immediate derivative", DELTA, "delta = np.einsum"),
            ("product not transposed", f'{DELTA}("bpi,pb->ib", product', f'{DELTA}("bip,pb->ib", product'),
            ("slope of the loss's step", "slopes[k] *", "slopes[t] *"),
            ("barely", DELTA, f"delta = {BARELY} * slopes[k] * np.einsum"),
        ),
        *mistakes(EVERYTHING, ("missing derivative of g", "e = g_backward(dy, g_cache)", "e = dy")),
        *mistakes(EVERYTHING, ("Jacobian of U transposed", "step_jacobians(U, ", "step_jacobians(U.T, ")),
        *mistakes("h0", ("start of the first loss", "dh0 += np.einsum", "dh0 = np.einsum")),
        *mistakes("U", ("state of the step itself", "h_before[k].T", "h_before[min(k + 1, t)].T")),
    ),
}
