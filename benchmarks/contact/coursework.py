"""Wrong passes in the styles of courses: developed on after a first contact."""

import numpy as np

from tests.strangers.case import normal, planted_case

CASES = []


def family(prefix, forward, right, args, helpers=()):
    """Return a function that adds the case of one mistake in ``right`` to ``CASES``."""

    def add(name, mistake, wrong, *edits, args=args, helpers=helpers, **rest):
        CASES.append(
            planted_case(
                f"{prefix}: {name}", forward, right, args, mistake, wrong, *edits, helpers=helpers, **rest
            )
        )

    return add


def single(make):
    """Return ``make`` with every float array in float32."""

    def cast(leaf):
        if isinstance(leaf, dict):
            return {key: cast(each) for key, each in leaf.items()}
        if isinstance(leaf, list | tuple):
            return type(leaf)(cast(each) for each in leaf)
        if isinstance(leaf, np.ndarray) and leaf.dtype == np.float64:
            return leaf.astype(np.float32)
        return leaf

    return lambda rng: cast(make(rng))


# ---------------------------------------------------------------- a net of three layers, dictionaries, columns


def three_layer_forward(X, Y, params, lambd):
    m = X.shape[1]
    A1 = np.tanh(params["W1"] @ X + params["b1"])
    A2 = 1 / (1 + np.exp(-(params["W2"] @ A1 + params["b2"])))
    Z3 = params["W3"] @ A2 + params["b3"]
    E = np.exp(Z3 - Z3.max(axis=0))
    A3 = E / E.sum(axis=0)
    cost = -np.sum(Y * np.log(A3)) / m
    cost = cost + lambd / (2 * m) * sum(np.sum(params["W" + str(l)] ** 2) for l in (1, 2, 3))
    return cost, {"X": X, "Y": Y, "A1": A1, "A2": A2, "A3": A3, "params": params, "lambd": lambd}


def three_layer_backward(dcost, cache):
    params, lambd = cache["params"], cache["lambd"]
    A1, A2, A3 = cache["A1"], cache["A2"], cache["A3"]
    m = A1.shape[1]
    grads = {}

    dZ3 = dcost * (A3 - cache["Y"])
    grads["W3"] = np.dot(dZ3, A2.T) / m + dcost * lambd / m * params["W3"]
    grads["b3"] = np.sum(dZ3, axis=1, keepdims=True) / m

    dA2 = np.dot(params["W3"].T, dZ3)
    dZ2 = dA2 * A2 * (1 - A2)
    grads["W2"] = np.dot(dZ2, A1.T) / m + dcost * lambd / m * params["W2"]
    grads["b2"] = 1.0 / m * np.sum(dZ2, axis=1, keepdims=True)

    dA1 = np.dot(params["W2"].T, dZ2)
    dZ1 = dA1 * (1 - np.power(A1, 2))
    grads["W1"] = np.dot(dZ1, cache["X"].T) / m + dcost * lambd / m * params["W1"]
    grads["b1"] = np.sum(dZ1, axis=1, keepdims=True) / m
    dX = np.dot(params["W1"].T, dZ1) / m
    return dX, grads


def three_layer_args(rng):
    sizes = (3, 5, 4, 6)
    params = {}
    for l in range(1, 4):
        params[f"W{l}"] = rng.standard_normal((sizes[l], sizes[l - 1]))
        params[f"b{l}"] = rng.standard_normal((sizes[l], 1))
    Y = np.eye(6, dtype=int)[:, rng.integers(0, 6, 7)]
    return rng.standard_normal((3, 7)), Y, params, 0.7


def P(*names):
    return " ".join(f"params['{name}']" for name in names)


add = family("three layers", three_layer_forward, three_layer_backward, three_layer_args)
add(
    "tanh's derivative for the sigmoid of the second layer",
    "C3",
    "X " + P("W1", "b1", "W2", "b2"),
    ("dZ2 = dA2 * A2 * (1 - A2)", "dZ2 = dA2 * (1 - np.power(A2, 2))"),
    also=("C4",),
)
add(
    "regulariser on the bias of the output",
    "D2",
    P("b3"),
    (
        "grads[\"b3\"] = np.sum(dZ3, axis=1, keepdims=True) / m",
        "grads[\"b3\"] = np.sum(dZ3, axis=1, keepdims=True) / m + dcost * lambd / m * params[\"b3\"]",
    ),
    source=False,
)
add("1/m forgotten for b2", "A2", P("b2"), ("1.0 / m * np.sum(dZ2", "np.sum(dZ2"))
add(
    "step taken before going down",
    "E4",
    "X " + P("W1", "b1", "W2", "b2"),
    ("dA2 = np.dot(params[\"W3\"].T, dZ3)", "dA2 = np.dot((params[\"W3\"] - 0.5 * grads[\"W3\"]).T, dZ3)"),
    source=False,
)
add(
    "lambda/m became lambda in the first layer",
    "D1",
    P("W1"),
    ("cache[\"X\"].T) / m + dcost * lambd / m * params[\"W1\"]", "cache[\"X\"].T) / m + dcost * lambd * params[\"W1\"]"),
)
add(
    "bias summed over the units",
    "B4",
    P("b1"),
    ("np.sum(dZ1, axis=1, keepdims=True) / m", "np.sum(dZ1, axis=0, keepdims=True) / m"),
    source=False,
)

# ---------------------------------------------------------------- logistic regression, loop over the examples


def logistic_cost(w, b, X, Y):
    J, A = 0, []
    m = X.shape[1]
    for i in range(m):
        z = np.dot(w, X[:, i]) + b
        a = 1 / (1 + np.exp(-z))
        J += -(Y[i] * np.log(a) + (1 - Y[i]) * np.log(1 - a))
        A.append(a)
    return J / m, (w, X, Y, A)


def logistic_gradients(dJ, cache):
    w, X, Y, A = cache
    m = X.shape[1]
    dw, db = np.zeros(len(w)), 0.0
    dX = np.zeros(X.shape)
    for i in range(m):
        dz = A[i] - Y[i]
        for j in range(len(w)):
            dw[j] += X[j, i] * dz
            dX[j, i] = w[j] * dz / m
        db += dz
    dw /= m
    db /= m
    return dJ * dw, dJ * np.array(db), dJ * dX


def logistic_args(rng):
    return rng.standard_normal(4), np.array(0.4), rng.standard_normal((4, 5)), rng.integers(0, 2, 5)


add = family("logistic regression", logistic_cost, logistic_gradients, logistic_args)
add("dw in whole numbers", "H3", "w", ("dw, db = np.zeros(len(w)), 0.0", "dw, db = np.zeros(len(w), dtype=int), 0.0"),
    ("dw /= m", "dw = dw / m"), source=False)
add("last example left out", "C8", "w b X", ("for i in range(m):", "for i in range(m - 1):"), source=False, also=("G2",))
add("dz divided by m as well", "A3", "w b X", ("dz = A[i] - Y[i]", "dz = (A[i] - Y[i]) / m"), source=False)

# ---------------------------------------------------------------- NNFS: a dense layer with L1 and L2


class Layer_Dense:
    def __init__(self, weights, biases, weight_regularizer_l1, weight_regularizer_l2, bias_regularizer_l2):
        self.weights = weights
        self.biases = biases
        self.weight_regularizer_l1 = weight_regularizer_l1
        self.weight_regularizer_l2 = weight_regularizer_l2
        self.bias_regularizer_l2 = bias_regularizer_l2

    def forward(self, inputs):
        self.inputs = inputs
        self.output = np.dot(inputs, self.weights) + self.biases

    def regularization_loss(self):
        loss = self.weight_regularizer_l1 * np.sum(np.abs(self.weights))
        loss += self.weight_regularizer_l2 * np.sum(self.weights * self.weights)
        loss += self.bias_regularizer_l2 * np.sum(self.biases * self.biases)
        return loss

    def backward(self, dvalues, dreg):
        # Gradients on parameters
        self.dweights = np.dot(self.inputs.T, dvalues)
        self.dbiases = np.sum(dvalues, axis=0, keepdims=True)
        # L1 on weights
        dL1 = np.ones_like(self.weights)
        dL1[self.weights < 0] = -1
        self.dweights += dreg * self.weight_regularizer_l1 * dL1
        # L2 on weights
        self.dweights += dreg * 2 * self.weight_regularizer_l2 * self.weights
        # L2 on biases
        self.dbiases += dreg * 2 * self.bias_regularizer_l2 * self.biases
        # Gradient on values
        self.dinputs = np.dot(dvalues, self.weights.T)


def nnfs_forward(inputs, weights, biases):
    layer = Layer_Dense(weights, biases, 0.3, 0.2, 0.4)
    layer.forward(inputs)
    return (layer.output, layer.regularization_loss()), (inputs, weights, biases)


def nnfs_backward(dout, cache):
    inputs, weights, biases = cache
    layer = Layer_Dense(weights, biases, 0.3, 0.2, 0.4)
    layer.forward(inputs)
    layer.backward(*dout)
    return layer.dinputs, layer.dweights, layer.dbiases


add = family("Layer_Dense", nnfs_forward, nnfs_backward, normal((4, 3), (3, 5), (1, 5)), (Layer_Dense,))
add("L1 without the negative weights", "D1", "weights", ("dL1[self.weights < 0] = -1", "dL1[self.weights < 0] = 0"),
    source=False)
add("keepdims forgotten", "B2", "biases",
    ("self.dbiases = np.sum(dvalues, axis=0, keepdims=True)", "self.dbiases = np.sum(dvalues, axis=0)"),
    ("self.dbiases += dreg * 2 * self.bias_regularizer_l2 * self.biases",
     "self.dbiases = self.dbiases + dreg * 2 * self.bias_regularizer_l2 * self.biases[0]"))
add("bias's L2 overwrites", "E1", "biases", ("self.dbiases += dreg", "self.dbiases = dreg"), source=False, also=("C8",))

# ---------------------------------------------------------------- NNFS: softmax and cross-entropy one after the other


def smooth_labels(y, classes, smoothing):
    return np.eye(classes)[y] * (1 - smoothing) + smoothing / classes


class Activation_Softmax:
    def forward(self, inputs):
        exp_values = np.exp(inputs - np.max(inputs, axis=1, keepdims=True))
        self.output = exp_values / np.sum(exp_values, axis=1, keepdims=True)

    def backward(self, dvalues):
        self.dinputs = np.empty_like(dvalues)
        for index, (single_output, single_dvalues) in enumerate(zip(self.output, dvalues)):
            single_output = single_output.reshape(-1, 1)
            jacobian_matrix = np.diagflat(single_output) - np.dot(single_output, single_output.T)
            self.dinputs[index] = np.dot(jacobian_matrix, single_dvalues)


class Loss_CategoricalCrossentropy:
    def forward(self, y_pred, y_true):
        return np.mean(-np.sum(y_true * np.log(y_pred), axis=1))

    def backward(self, dvalues, y_true):
        samples = len(dvalues)
        self.dinputs = -y_true / dvalues
        self.dinputs = self.dinputs / samples


def crossentropy_forward(inputs, y, smoothing):
    softmax, loss = Activation_Softmax(), Loss_CategoricalCrossentropy()
    softmax.forward(inputs)
    value = loss.forward(softmax.output, smooth_labels(y, inputs.shape[1], smoothing))
    return value, (inputs, y, smoothing)


def crossentropy_backward(dvalue, cache):
    inputs, y, smoothing = cache
    y_true = smooth_labels(y, inputs.shape[1], smoothing)
    softmax, loss = Activation_Softmax(), Loss_CategoricalCrossentropy()
    softmax.forward(inputs)
    loss.backward(softmax.output, y_true)
    softmax.backward(loss.dinputs)
    return dvalue * softmax.dinputs


def class_scores(rng):
    return rng.standard_normal((3, 5)), rng.integers(0, 5, 3), 0.1


add = family("softmax, then cross-entropy", crossentropy_forward, crossentropy_backward, class_scores,
             (Activation_Softmax, Loss_CategoricalCrossentropy))
add(
    "diagonal of the Jacobian",
    "C6",
    "inputs",
    (
        "np.diagflat(single_output) - np.dot(single_output, single_output.T)",
        "np.diagflat(single_output * (1 - single_output))",
    ),
)
add("fused gradient goes through the softmax as well", "C6", "inputs",
    ("self.dinputs = -y_true / dvalues", "self.dinputs = dvalues - y_true"))

# ---------------------------------------------------------------- fast.ai: gradients are attributes


class T:
    def __init__(self, v):
        self.v = v


def fastai_forward(x, w1, b1, w2, b2, targ):
    l1 = x @ w1 + b1
    l2 = np.maximum(l1, 0)
    out = l2 @ w2 + b2
    loss = ((out[:, 0] - targ) ** 2).mean()
    return loss, (x, w1, b1, w2, b2, targ, l1, l2, out)


def mse_grad(inp, targ):
    inp.g = 2.0 * (inp.v[:, 0] - targ)[:, None] / inp.v.shape[0]


def relu_grad(inp, out):
    inp.g = (inp.v > 0).astype(float) * out.g


def lin_grad(inp, out, w, b):
    inp.g = out.g @ w.v.T
    w.g = (inp.v[:, :, None] * out.g[:, None, :]).sum(0)
    b.g = out.g.sum(0)


def fastai_backward(dloss, cache):
    *tensors, targ, l1, l2, out = cache
    x, w1, b1, w2, b2 = [T(each) for each in tensors]
    l1, l2, out = T(l1), T(l2), T(out)
    mse_grad(out, targ)
    lin_grad(l2, out, w2, b2)
    relu_grad(l1, l2)
    lin_grad(x, l1, w1, b1)
    return tuple(dloss * each.g for each in (x, w1, b1, w2, b2))


def fastai_args(rng):
    return *(rng.standard_normal(s) for s in ((6, 4), (4, 5), (5,), (5, 1), (1,))), rng.integers(0, 10, 6)


add = family("fast.ai", fastai_forward, fastai_backward, fastai_args, (mse_grad, relu_grad, lin_grad))
add("the open units are the negative ones", "C3", "x w1 b1", ("(inp.v > 0)", "(inp.v < 0)"))
add("bias not summed", "B3", "b1 b2", ("b.g = out.g.sum(0)", "b.g = out.g"), source=False)

# ---------------------------------------------------------------- word2vec


def naive_softmax_loss(centerWordVec, outsideWordIdx, outsideVectors):
    scores = outsideVectors @ centerWordVec
    y_hat = np.exp(scores - scores.max())
    y_hat = y_hat / y_hat.sum()
    return -np.log(y_hat[outsideWordIdx]), (centerWordVec, outsideWordIdx, outsideVectors, y_hat)


def naive_softmax_grads(dloss, cache):
    v_c, o, U, y_hat = cache
    gradCenterVec = -U[o]
    gradOutsideVecs = np.zeros_like(U)
    for w in range(U.shape[0]):
        gradCenterVec = gradCenterVec + y_hat[w] * U[w]
        gradOutsideVecs[w] = y_hat[w] * v_c
    gradOutsideVecs[o] -= v_c
    return dloss * gradCenterVec, dloss * gradOutsideVecs


add = family("naive softmax", naive_softmax_loss, naive_softmax_grads,
             lambda rng: (rng.standard_normal(3), int(rng.integers(0, 6)), rng.standard_normal((6, 3))))
add("the expectation is missing", "C8", "centerWordVec",
    ("gradCenterVec = gradCenterVec + y_hat[w] * U[w]", ""), source=False)


def sig(x):
    return 1 / (1 + np.exp(-x))


def skipgram(centerWord, outsideWords, negatives, centerVectors, outsideVectors):
    v = centerVectors[centerWord]
    loss = 0.0
    for o, ks in zip(outsideWords, negatives):
        loss -= np.log(sig(outsideVectors[o] @ v))
        for k in ks:
            loss -= np.log(sig(-outsideVectors[k] @ v))
    return loss, (centerWord, outsideWords, negatives, centerVectors, outsideVectors)


def neg_sampling_grads(v, o, ks, U):
    grad_v = (sig(U[o] @ v) - 1) * U[o]
    grad_U = np.zeros(U.shape)
    grad_U[o] += (sig(U[o] @ v) - 1) * v
    for k in ks:
        s = 1 - sig(-U[k] @ v)
        grad_v += s * U[k]
        grad_U[k] += s * v
    return grad_v, grad_U


def skipgram_grads(dloss, cache):
    c, outsideWords, negatives, V, U = cache
    gradCenter, gradOutside = np.zeros(V.shape), np.zeros(U.shape)
    for o, ks in zip(outsideWords, negatives):
        gc, go = neg_sampling_grads(V[c], o, ks, U)
        gradCenter[c] += gc
        gradOutside += go
    return dloss * gradCenter, dloss * gradOutside


def skipgram_args(rng):
    return 2, [0, 4, 4], [[1, 3, 3], [5, 0, 1], [6, 5, 5]], rng.standard_normal((7, 3)), rng.standard_normal((7, 3))


add = family("skip-gram with negative samples", skipgram, skipgram_grads, skipgram_args, (neg_sampling_grads,))
add("a word drawn twice counts once", "E1", "outsideVectors", ("grad_U[k] += s * v", "grad_U[k] = s * v"))
add("sigmoid of the wrong sign", "C2", "centerVectors outsideVectors", ("s = 1 - sig(-U[k] @ v)", "s = 1 - sig(U[k] @ v)"),
    source=False)
add("positive word pushed away", "A1", "outsideVectors", ("grad_U[o] += (sig(", "grad_U[o] -= (sig("), source=False)


def cbow(contexts, targets, W_in, W_out):
    h = W_in[contexts].mean(axis=1)
    scores = h @ W_out
    probs = np.exp(scores)
    probs /= probs.sum(axis=1, keepdims=True)
    loss = -np.log(probs[np.arange(len(targets)), targets]).sum()
    return loss, (contexts, targets, W_in, W_out, h, probs)


def cbow_backward(dloss, cache):
    contexts, targets, W_in, W_out, h, probs = cache
    ds = probs.copy()
    ds[np.arange(len(targets)), targets] -= 1
    ds *= dloss
    dW_out = h.T @ ds
    dh = ds @ W_out.T
    dW_in = np.zeros_like(W_in)
    for i in range(contexts.shape[1]):
        np.add.at(dW_in, contexts[:, i], dh / contexts.shape[1])
    return dW_in, dW_out


add = family("CBOW", cbow, cbow_backward,
             lambda rng: (rng.integers(0, 7, (5, 4)), rng.integers(0, 7, 5), *normal((7, 3), (3, 7))(rng)))
add("indexed addition loses repeated words", "E1", "W_in",
    ("np.add.at(dW_in, contexts[:, i], dh / contexts.shape[1])", "dW_in[contexts[:, i]] += dh / contexts.shape[1]"),
    source=False)
add("mean of the context taken for a sum", "A5", "W_in",
    ("dh / contexts.shape[1])", "dh)"), also=("A2", "A4"))

# ---------------------------------------------------------------- CS224n: all parameters in one vector


def sigmoid_grad(s):
    return s * (1 - s)


def unpack(params, dims):
    Dx, H, Dy = dims
    ofs = 0
    W1 = params[ofs : ofs + Dx * H].reshape(Dx, H)
    ofs += Dx * H
    b1 = params[ofs : ofs + H].reshape(1, H)
    ofs += H
    W2 = params[ofs : ofs + H * Dy].reshape(H, Dy)
    ofs += H * Dy
    b2 = params[ofs : ofs + Dy].reshape(1, Dy)
    return W1, b1, W2, b2


def forward_prop(data, labels, params, dimensions):
    W1, b1, W2, b2 = unpack(params, dimensions)
    z1 = data.dot(W1) + b1
    h = sig(z1)
    z2 = h.dot(W2) + b2
    y = np.exp(z2) / np.exp(z2).sum(axis=1, keepdims=True)
    cost = -np.sum(labels * np.log(y))
    return cost, (data, labels, params, dimensions, z1, h, y)


def backward_prop(dcost, cache):
    data, labels, params, dimensions, z1, h, y = cache
    W1, b1, W2, b2 = unpack(params, dimensions)
    delta1 = y - labels
    gradW2 = h.T.dot(delta1)
    gradb2 = np.sum(delta1, axis=0)
    delta2 = delta1.dot(W2.T)
    delta3 = delta2 * sigmoid_grad(h)
    gradW1 = data.T.dot(delta3)
    gradb1 = np.sum(delta3, axis=0)
    gradData = delta3.dot(W1.T)
    grad = np.concatenate((gradW1.flatten(), gradb1.flatten(), gradW2.flatten(), gradb2.flatten()))
    return dcost * gradData, dcost * grad


def forward_prop_args(rng):
    labels = np.eye(5, dtype=int)[rng.integers(0, 5, 6)]
    return rng.standard_normal((6, 3)), labels, rng.standard_normal(3 * 4 + 4 + 4 * 5 + 5), (3, 4, 5)


add = family("one vector of parameters", forward_prop, backward_prop, forward_prop_args)
add("derivative of the sigmoid given the input", "C2", "data params", ("sigmoid_grad(h)", "sigmoid_grad(z1)"), source=False)
add("W2 laid out by columns", "B1", "params", ("gradW2.flatten()", "gradW2.T.flatten()"), source=False, also=("F7",))
add("no sigmoid on the way down", "C1", "data params", ("delta3 = delta2 * sigmoid_grad(h)", "delta3 = delta2"),
    source=False, args=single(forward_prop_args))

# ---------------------------------------------------------------- batch norm in small steps, for images


def spatial_bn_forward(x, gamma, beta):
    N, C, H, W = x.shape
    rows = x.transpose(0, 2, 3, 1).reshape(-1, C)
    mu = rows.mean(axis=0)
    xmu = rows - mu
    var = (xmu**2).mean(axis=0)
    sqrtvar = np.sqrt(var + 1e-5)
    ivar = 1.0 / sqrtvar
    xhat = xmu * ivar
    out = (gamma * xhat + beta).reshape(N, H, W, C).transpose(0, 3, 1, 2)
    return out, (x.shape, gamma, xhat, xmu, ivar, sqrtvar, var)


def bn_steps_backward(dout, gamma, xhat, xmu, ivar, sqrtvar, var):
    N, D = dout.shape
    # step 9
    dbeta = np.sum(dout, axis=0)
    dgammax = dout
    # step 8
    dgamma = np.sum(dgammax * xhat, axis=0)
    dxhat = dgammax * gamma
    # step 7
    divar = np.sum(dxhat * xmu, axis=0)
    dxmu1 = dxhat * ivar
    # step 6
    dsqrtvar = -1.0 / (sqrtvar**2) * divar
    # step 5
    dvar = 0.5 * 1.0 / np.sqrt(var + 1e-5) * dsqrtvar
    # step 4
    dsq = 1.0 / N * np.ones((N, D)) * dvar
    # step 3
    dxmu2 = 2 * xmu * dsq
    # step 2
    dx1 = dxmu1 + dxmu2
    dmu = -1 * np.sum(dx1, axis=0)
    # step 1
    dx2 = 1.0 / N * np.ones((N, D)) * dmu
    # step 0
    return dx1 + dx2, dgamma, dbeta


def spatial_bn_backward(dout, cache):
    (N, C, H, W), *steps = cache
    dx, dgamma, dbeta = bn_steps_backward(dout.transpose(0, 2, 3, 1).reshape(-1, C), *steps)
    return dx.reshape(N, H, W, C).transpose(0, 3, 1, 2), dgamma, dbeta


add = family("batch norm of images", spatial_bn_forward, spatial_bn_backward, normal((3, 2, 4, 5), 2, 2), (bn_steps_backward,))
add("no path through the mean", "C7", "x", ("return dx1 + dx2, dgamma", "return dx1, dgamma"), source=False)
add("square forgotten in the derivative of 1/x", "C3", "x", ("-1.0 / (sqrtvar**2) * divar", "-1.0 / sqrtvar * divar"),
    also=("C7",))
add("axes not moved back", "B1", "x", ("dx.reshape(N, H, W, C).transpose(0, 3, 1, 2)", "dx.reshape(N, C, H, W)"),
    source=False)
add("no path through the variance", "C7", "x", ("dx1 = dxmu1 + dxmu2", "dx1 = dxmu1"))

# ---------------------------------------------------------------- layer norm, llm.c


def layernorm_c(x, weight, bias):
    mean = x.mean(axis=-1)
    rstd = 1 / np.sqrt(x.var(axis=-1) + 1e-5)
    out = (x - mean[..., None]) * rstd[..., None] * weight + bias
    return out, (x, weight, mean, rstd)


def layernorm_c_backward(dout, cache):
    inp, weight, mean, rstd = cache
    B, T, C = inp.shape
    dinp, dweight, dbias = np.zeros_like(inp), np.zeros_like(weight), np.zeros_like(weight)
    for b in range(B):
        for t in range(T):
            # first: two reduce operations
            dnorm_mean = 0.0
            dnorm_norm_mean = 0.0
            for i in range(C):
                norm_bti = (inp[b, t, i] - mean[b, t]) * rstd[b, t]
                dnorm_i = weight[i] * dout[b, t, i]
                dnorm_mean += dnorm_i
                dnorm_norm_mean += dnorm_i * norm_bti
            dnorm_mean = dnorm_mean / C
            dnorm_norm_mean = dnorm_norm_mean / C
            # now iterate again and accumulate all the gradients
            for i in range(C):
                norm_bti = (inp[b, t, i] - mean[b, t]) * rstd[b, t]
                dbias[i] += dout[b, t, i]
                dweight[i] += norm_bti * dout[b, t, i]
                dval = 0.0
                dval += weight[i] * dout[b, t, i]  # term 1
                dval -= dnorm_mean  # term 2
                dval -= norm_bti * dnorm_norm_mean  # term 3
                dval *= rstd[b, t]  # final scale
                dinp[b, t, i] += dval
    return dinp, dweight, dbias


add = family("layer norm in loops", layernorm_c, layernorm_c_backward, normal((2, 3, 5), 5, 5))
add("sum for the mean of the projections", "A2", "x", ("dnorm_norm_mean = dnorm_norm_mean / C", "dnorm_norm_mean = dnorm_norm_mean"),
    also=("C7", "A4"))
add("dweight of the last token", "E1", "weight", ("dweight[i] += norm_bti", "dweight[i] = norm_bti"), source=False)
add("term 1 without the weight", "A5", "x", ("dval += weight[i] * dout[b, t, i]  # term 1", "dval += dout[b, t, i]  # term 1"),
    also=("C7", "B6"))

# ---------------------------------------------------------------- RMS norm


def rmsnorm(x, g):
    r = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6)
    return x / r * g, (x, g, r)


def rmsnorm_backward(dy, cache):
    x, g, r = cache
    dxn = dy * g
    dr = -np.sum(dxn * x, axis=-1, keepdims=True) / r**2
    dx = dxn / r + dr * x / (x.shape[-1] * r)
    dg = np.sum(dy * x / r, axis=0)
    return dx, dg


add = family("RMS norm", rmsnorm, rmsnorm_backward, normal((4, 6), 6))
add("gain's gradient of the input as it is", "B6", "g", ("dg = np.sum(dy * x / r, axis=0)", "dg = np.sum(dy * x, axis=0)"),
    source=False, args=single(normal((4, 6), 6)))

# ---------------------------------------------------------------- two hidden layers with dropout


def dropout_net(X, W1, W2, W3, D1, D2, keep_prob):
    A1 = np.maximum(0, X @ W1)
    A1 = A1 * D1 / keep_prob
    A2 = np.tanh(A1 @ W2)
    A2d = A2 * D2 / keep_prob
    return A2d @ W3, (X, W1, W2, W3, D1, D2, keep_prob, A1, A2, A2d)


def dropout_net_backward(dZ3, cache):
    X, W1, W2, W3, D1, D2, keep_prob, A1, A2, A2d = cache
    dW3 = A2d.T @ dZ3
    dA2 = dZ3 @ W3.T
    dA2 = dA2 * D2
    dA2 = dA2 / keep_prob
    dZ2 = dA2 * (1 - A2**2)
    dW2 = A1.T @ dZ2
    dA1 = dZ2 @ W2.T
    dA1 = dA1 * D1
    dA1 = dA1 / keep_prob
    dZ1 = dA1 * (A1 > 0)
    return dZ1 @ W1.T, X.T @ dZ1, dW2, dW3


def dropout_net_args(rng):
    masks = rng.random((2, 4, 6)) < 0.6
    return *normal((4, 3), (3, 6), (6, 6), (6, 5))(rng), *masks, 0.6


add = family("dropout twice", dropout_net, dropout_net_backward, dropout_net_args)
add("mask of the other layer", "E5", "X W1", ("dA1 = dA1 * D1", "dA1 = dA1 * D2"))
add("mask without its scale", "E5", "X W1 W2", ("dA2 = dA2 / keep_prob", ""), source=False)
add("tanh of what was dropped", "C2", "X W1 W2", ("dZ2 = dA2 * (1 - A2**2)", "dZ2 = dA2 * (1 - A2d**2)"), source=False)
add("W3's gradient from before the dropout", "B6", "W3", ("dW3 = A2d.T @ dZ3", "dW3 = A2.T @ dZ3"), also=("E5",))

# ---------------------------------------------------------------- a recurrent net, deeplearning.ai: (n_x, m, T_x)


def rnn_cell_forward(xt, a_prev, parameters):
    Wax, Waa, ba = parameters["Wax"], parameters["Waa"], parameters["ba"]
    a_next = np.tanh(np.dot(Wax, xt) + np.dot(Waa, a_prev) + ba)
    return a_next, (a_next, a_prev, xt, parameters)


def rnn_cols_forward(x, a0, parameters):
    caches, a = [], np.zeros((a0.shape[0], x.shape[1], x.shape[2]))
    a_next = a0
    for t in range(x.shape[2]):
        a_next, cache = rnn_cell_forward(x[:, :, t], a_next, parameters)
        a[:, :, t] = a_next
        caches.append(cache)
    return a, (caches, x)


def rnn_cell_backward_cols(da_next, cache):
    a_next, a_prev, xt, parameters = cache
    Wax, Waa = parameters["Wax"], parameters["Waa"]
    dtanh = (1 - a_next**2) * da_next
    dxt = np.dot(Wax.T, dtanh)
    dWax = np.dot(dtanh, xt.T)
    da_prev = np.dot(Waa.T, dtanh)
    dWaa = np.dot(dtanh, a_prev.T)
    dba = np.sum(dtanh, axis=1, keepdims=True)
    return {"dxt": dxt, "da_prev": da_prev, "dWax": dWax, "dWaa": dWaa, "dba": dba}


def rnn_cols_backward(da, cache):
    caches, x = cache
    n_a, m, T_x = da.shape
    dx = np.zeros_like(x)
    dWax, dWaa, dba = np.zeros((n_a, x.shape[0])), np.zeros((n_a, n_a)), np.zeros((n_a, 1))
    da_prevt = np.zeros((n_a, m))
    for t in reversed(range(T_x)):
        gradients = rnn_cell_backward_cols(da[:, :, t] + da_prevt, caches[t])
        da_prevt = gradients["da_prev"]
        dx[:, :, t] = gradients["dxt"]
        dWax += gradients["dWax"]
        dWaa += gradients["dWaa"]
        dba += gradients["dba"]
    da0 = da_prevt
    return dx, da0, {"Wax": dWax, "Waa": dWaa, "ba": dba}


def rnn_cols_args(rng):
    x, a0, Wax, Waa, ba = normal((3, 2, 4), (5, 2), (5, 3), (5, 5), (5, 1))(rng)
    return x, a0, {"Wax": Wax, "Waa": Waa, "ba": ba}


RNN_ALL = "x a0 parameters['Wax'] parameters['Waa'] parameters['ba']"
add = family("RNN of columns", rnn_cols_forward, rnn_cols_backward, rnn_cols_args, (rnn_cell_backward_cols,))
add("the first step left out", "G2", RNN_ALL, ("in reversed(range(T_x))", "in reversed(range(1, T_x))"), source=False)
add("the step before the last overtakes", "G1", RNN_ALL, ("da_prevt = gradients[\"da_prev\"]", ""))
add("da added twice", "E2", RNN_ALL, ("gradients = rnn_cell_backward_cols(da[:, :, t] + da_prevt", "gradients = rnn_cell_backward_cols(da[:, :, t] + da[:, :, t] + da_prevt"),
    also=("A4", "C8"))

# ---------------------------------------------------------------- Denny Britz's RNN


def britz_forward(x, y, U, V, W):
    T = len(x)
    s = np.zeros((T + 1, U.shape[0]))
    o = np.zeros((T, V.shape[0]))
    loss = 0
    for t in np.arange(T):
        s[t] = np.tanh(U[:, x[t]] + W.dot(s[t - 1]))
        e = np.exp(V.dot(s[t]))
        o[t] = e / e.sum()
        loss -= np.log(o[t, y[t]])
    return loss, (x, y, U, V, W, s, o)


def bptt(dloss, cache):
    x, y, U, V, W, s, o = cache
    T = len(y)
    bptt_truncate = T
    dLdU, dLdV, dLdW = np.zeros(U.shape), np.zeros(V.shape), np.zeros(W.shape)
    delta_o = o.copy()
    delta_o[np.arange(len(y)), y] -= 1.0
    # For each output backwards...
    for t in np.arange(T)[::-1]:
        dLdV += np.outer(delta_o[t], s[t].T)
        # Initial delta calculation: dL/dz
        delta_t = V.T.dot(delta_o[t]) * (1 - (s[t] ** 2))
        # Backpropagation through time (for at most bptt_truncate steps)
        for bptt_step in np.arange(max(0, t - bptt_truncate), t + 1)[::-1]:
            dLdW += np.outer(delta_t, s[bptt_step - 1])
            dLdU[:, x[bptt_step]] += delta_t
            # Update delta for next step
            delta_t = W.T.dot(delta_t) * (1 - s[bptt_step - 1] ** 2)
    return dloss * dLdU, dloss * dLdV, dloss * dLdW


add = family("Britz's RNN", britz_forward, bptt,
             lambda rng: (rng.integers(0, 6, 5), rng.integers(0, 6, 5), *normal((4, 6), (6, 4), (4, 4))(rng)))
add("truncated after one step", "G2", "U W", ("bptt_truncate = T", "bptt_truncate = 1"), also=("G1",), source=False)
add("tanh of the later state", "G3", "U W", ("* (1 - s[bptt_step - 1] ** 2)", "* (1 - s[bptt_step] ** 2)"), also=("C2", "C4"))
add("clipped", "G4", "U V W", ("return dloss * dLdU, dloss * dLdV, dloss * dLdW",
    "return [np.clip(dloss * g, -0.1, 0.1) for g in (dLdU, dLdV, dLdW)]"))

# ---------------------------------------------------------------- iamtrask's binary addition


def sigmoid_output_to_derivative(output):
    return output * (1 - output)


def addition_forward(X, Y, synapse_0, synapse_1, synapse_h):
    layer_1_values = [np.zeros((1, synapse_h.shape[0]))]
    layer_2_values = []
    error = 0
    for position in range(len(X)):
        layer_1 = sig(np.dot(X[position : position + 1], synapse_0) + np.dot(layer_1_values[-1], synapse_h))
        layer_2 = sig(np.dot(layer_1, synapse_1))
        error += 0.5 * ((Y[position] - layer_2) ** 2).sum()
        layer_1_values.append(layer_1)
        layer_2_values.append(layer_2)
    return error, (X, Y, synapse_0, synapse_1, synapse_h, layer_1_values, layer_2_values)


def addition_backward(derror, cache):
    X, Y, synapse_0, synapse_1, synapse_h, layer_1_values, layer_2_values = cache
    synapse_0_update = np.zeros_like(synapse_0)
    synapse_1_update = np.zeros_like(synapse_1)
    synapse_h_update = np.zeros_like(synapse_h)
    future_layer_1_delta = np.zeros((1, synapse_h.shape[0]))
    for position in range(len(X)):
        index = len(X) - position - 1
        layer_1 = layer_1_values[-position - 1]
        prev_layer_1 = layer_1_values[-position - 2]
        layer_2 = layer_2_values[-position - 1]
        layer_2_delta = (layer_2 - Y[index]) * sigmoid_output_to_derivative(layer_2)
        layer_1_error = future_layer_1_delta.dot(synapse_h.T) + layer_2_delta.dot(synapse_1.T)
        layer_1_delta = layer_1_error * sigmoid_output_to_derivative(layer_1)
        synapse_1_update += np.atleast_2d(layer_1).T.dot(layer_2_delta)
        synapse_h_update += np.atleast_2d(prev_layer_1).T.dot(layer_1_delta)
        synapse_0_update += X[index : index + 1].T.dot(layer_1_delta)
        future_layer_1_delta = layer_1_delta
    return derror * synapse_0_update, derror * synapse_1_update, derror * synapse_h_update


def addition_args(rng):
    return rng.integers(0, 2, (6, 2)), rng.integers(0, 2, 6), *normal((2, 4), (4, 1), (4, 4))(rng)


add = family("binary addition", addition_forward, addition_backward, addition_args, (sigmoid_output_to_derivative,))
add("error handed back instead of the delta", "C1", "synapse_0 synapse_h",
    ("future_layer_1_delta = layer_1_delta", "future_layer_1_delta = layer_1_error"))
add("synapse_h the wrong way round", "B1", "synapse_0 synapse_h", ("synapse_h.T) + layer_2", "synapse_h) + layer_2"), source=False)
add("bits counted from the other end", "G3", "synapse_0", ("X[index : index + 1].T", "X[position : position + 1].T"))

# ---------------------------------------------------------------- LSTM, deeplearning.ai


def lstm_cols_forward(x, a0, parameters):
    a_prev, c_prev, caches = a0, np.zeros(a0.shape), []
    a = np.zeros((*a0.shape, x.shape[2]))
    for t in range(x.shape[2]):
        concat = np.concatenate((a_prev, x[:, :, t]))
        ft = sig(parameters["Wf"] @ concat + parameters["bf"])
        it = sig(parameters["Wi"] @ concat + parameters["bi"])
        cct = np.tanh(parameters["Wc"] @ concat + parameters["bc"])
        ot = sig(parameters["Wo"] @ concat + parameters["bo"])
        c_next = ft * c_prev + it * cct
        a_next = ot * np.tanh(c_next)
        caches.append((a_next, c_next, a_prev, c_prev, ft, it, cct, ot, concat))
        a[:, :, t] = a_next
        a_prev, c_prev = a_next, c_next
    return a, (caches, x, parameters)


def lstm_cell_backward_cols(da_next, dc_next, cache, parameters):
    a_next, c_next, a_prev, c_prev, ft, it, cct, ot, concat = cache
    n_a = len(a_next)
    dot = da_next * np.tanh(c_next) * ot * (1 - ot)
    dcct = (dc_next * it + ot * (1 - np.tanh(c_next) ** 2) * it * da_next) * (1 - cct**2)
    dit = (dc_next * cct + ot * (1 - np.tanh(c_next) ** 2) * cct * da_next) * it * (1 - it)
    dft = (dc_next * c_prev + ot * (1 - np.tanh(c_next) ** 2) * c_prev * da_next) * ft * (1 - ft)
    grads = {}
    for gate, dgate in (("f", dft), ("i", dit), ("c", dcct), ("o", dot)):
        grads["W" + gate] = np.dot(dgate, concat.T)
        grads["b" + gate] = np.sum(dgate, axis=1, keepdims=True)
    dconcat = (
        parameters["Wf"].T.dot(dft)
        + parameters["Wi"].T.dot(dit)
        + parameters["Wc"].T.dot(dcct)
        + parameters["Wo"].T.dot(dot)
    )
    dc_prev = dc_next * ft + ot * (1 - np.square(np.tanh(c_next))) * ft * da_next
    return dconcat[n_a:], dconcat[:n_a], dc_prev, grads


def lstm_cols_backward(da, cache):
    caches, x, parameters = cache
    grads = {name: np.zeros_like(p) for name, p in parameters.items()}
    dx = np.zeros_like(x)
    da_prevt, dc_prevt = np.zeros(da.shape[:2]), np.zeros(da.shape[:2])
    for t in range(da.shape[2] - 1, -1, -1):
        dx[:, :, t], da_prevt, dc_prevt, g = lstm_cell_backward_cols(
            da[:, :, t] + da_prevt, dc_prevt, caches[t], parameters
        )
        for name in grads:
            grads[name] += g[name]
    return dx, da_prevt, grads


def lstm_cols_args(rng):
    parameters = {}
    for gate in "fico":
        parameters["W" + gate] = rng.standard_normal((4, 4 + 3))
        parameters["b" + gate] = rng.standard_normal((4, 1))
    return rng.standard_normal((3, 2, 5)), rng.standard_normal((4, 2)), parameters


LSTM = {gate: f"parameters['W{gate}'] parameters['b{gate}']" for gate in "fico"}
LSTM_ALL = "x a0 " + " ".join(LSTM.values())
add = family("LSTM of columns", lstm_cols_forward, lstm_cols_backward, lstm_cols_args, (lstm_cell_backward_cols,))
add("the cell's way back is only the direct one", "C8", f"x a0 {LSTM['f']} {LSTM['i']} {LSTM['c']} {LSTM['o']}",
    ("dc_prev = dc_next * ft + ot * (1 - np.square(np.tanh(c_next))) * ft * da_next", "dc_prev = dc_next * ft"), source=False,
    also=("G1",))
add("square of the cell, not of its tanh", "C2", LSTM_ALL, ("(1 - np.square(np.tanh(c_next)))", "(1 - np.square(c_next))"))
add("forget gate sees the new cell", "G3", LSTM_ALL, ("dft = (dc_next * c_prev +", "dft = (dc_next * c_next +"), source=False)
add("dc never handed on", "G1", LSTM_ALL, ("dx[:, :, t], da_prevt, dc_prevt, g =", "dx[:, :, t], da_prevt, _, g ="))

# ---------------------------------------------------------------- GRU through time, a dictionary for each step


def gru_net(x, h0, Wx, Wh, bx, bh):
    h, steps = h0, []
    for xt in x:
        H = h.shape[1]
        gx, gh = xt @ Wx + bx, h @ Wh + bh
        r = sig(gx[:, :H] + gh[:, :H])
        z = sig(gx[:, H : 2 * H] + gh[:, H : 2 * H])
        hn = gh[:, 2 * H :]
        n = np.tanh(gx[:, 2 * H :] + r * hn)
        steps.append({"x": xt, "h": h, "r": r, "z": z, "n": n, "hn": hn})
        h = (1 - z) * n + z * h
    return h, (steps, Wx, Wh)


def gru_net_backward(dh, cache):
    steps, Wx, Wh = cache
    dx = []
    dWx, dWh = np.zeros_like(Wx), np.zeros_like(Wh)
    dbx, dbh = np.zeros(Wx.shape[1]), np.zeros(Wx.shape[1])
    for s in steps[::-1]:
        dn = dh * (1 - s["z"])
        dz = dh * (s["h"] - s["n"])
        dn_raw = dn * (1 - s["n"] ** 2)
        dr = dn_raw * s["hn"]
        dr_raw = dr * s["r"] * (1 - s["r"])
        dz_raw = dz * s["z"] * (1 - s["z"])
        dgx = np.hstack((dr_raw, dz_raw, dn_raw))
        dgh = np.hstack((dr_raw, dz_raw, dn_raw * s["r"]))
        dWx += s["x"].T @ dgx
        dWh += s["h"].T @ dgh
        dbx += dgx.sum(0)
        dbh += dgh.sum(0)
        dx.append(dgx @ Wx.T)
        dh = dgh @ Wh.T + dh * s["z"]
    return np.stack(dx[::-1]), dh, dWx, dWh, dbx, dbh


add = family("GRU", gru_net, gru_net_backward, normal((4, 2, 5), (2, 3), (5, 9), (3, 9), 9, 9))
add("no direct way from state to state", "C8", "x h0 Wx Wh bx bh", ("dh = dgh @ Wh.T + dh * s[\"z\"]", "dh = dgh @ Wh.T"), also=("G1",), source=False)
add("reset gate forgotten in the hidden part", "B6", "x h0 Wx Wh bx bh", ("dn_raw * s[\"r\"]))", "dn_raw))"), source=False, also=("C8",))
add("update gate's operands exchanged", "A1", "x h0 Wx Wh bx bh", ("(s[\"h\"] - s[\"n\"])", "(s[\"n\"] - s[\"h\"])"))
add("inputs stay in reversed order", "G3", "x", ("np.stack(dx[::-1])", "np.stack(dx)"), source=False)
add("candidate without its derivative", "C1", "x h0 Wx Wh bx bh", ("dn_raw = dn * (1 - s[\"n\"] ** 2)", "dn_raw = dn"), source=False)
add("1 - z forgotten", "B6", "x h0 Wx Wh bx bh", ("dn = dh * (1 - s[\"z\"])", "dn = dh"), also=("C8", "C1", "A5"))

# ---------------------------------------------------------------- both directions


def birnn(x, Wf, Uf, Wb, Ub):
    T, H = len(x), Uf.shape[0]
    hf, hb = {-1: np.zeros(H)}, {T: np.zeros(H)}
    for t in range(T):
        hf[t] = np.tanh(Wf @ x[t] + Uf @ hf[t - 1])
    for t in range(T - 1, -1, -1):
        hb[t] = np.tanh(Wb @ x[t] + Ub @ hb[t + 1])
    return np.array([np.concatenate((hf[t], hb[t])) for t in range(T)]), (x, Wf, Uf, Wb, Ub, hf, hb)


def birnn_backward(dout, cache):
    x, Wf, Uf, Wb, Ub, hf, hb = cache
    T, H = len(x), len(Uf)
    dx = np.zeros_like(x)
    dWf, dUf, dWb, dUb = (np.zeros_like(w) for w in (Wf, Uf, Wb, Ub))
    carry = np.zeros(H)
    for t in range(T - 1, -1, -1):
        d = (dout[t, :H] + carry) * (1 - hf[t] ** 2)
        dWf += np.outer(d, x[t])
        dUf += np.outer(d, hf[t - 1])
        dx[t] += Wf.T @ d
        carry = Uf.T @ d
    carry = np.zeros(H)
    for t in range(T):
        d = (dout[t, H:] + carry) * (1 - hb[t] ** 2)
        dWb += np.outer(d, x[t])
        dUb += np.outer(d, hb[t + 1])
        dx[t] += Wb.T @ d
        carry = Ub.T @ d
    return dx, dWf, dUf, dWb, dUb


add = family("RNN in both directions", birnn, birnn_backward, normal((4, 3), (5, 3), (5, 5), (5, 3), (5, 5)))
add("dx of the backward direction overwrites", "E1", "x", ("dx[t] += Wb.T @ d", "dx[t] = Wb.T @ d"), source=False)
add("the backward direction runs like the forward one", "G2", "x Wb Ub", ("for t in range(T):", "for t in reversed(range(T)):"), also=("G3", "G1"))
add("the half of the other direction", "B6", "x Wb Ub", ("dout[t, H:]", "dout[t, :H]"))
add("carry of the first loop not reset", "E2", "x Wb Ub",
    ("carry = np.zeros(H)\n    for t in range(T):", "for t in range(T):"), source=False)

# ---------------------------------------------------------------- encoder and decoder


def seq2seq(src, tgt, We, Ue, Wd, Ud, Wo):
    he, hd = [np.zeros(Ue.shape[0])], []
    for i in src:
        he.append(np.tanh(We[i] + he[-1] @ Ue))
    h = he[-1]
    ys = []
    for j in tgt:
        hd.append(h)
        h = np.tanh(Wd[j] + h @ Ud)
        ys.append(h @ Wo)
    hd.append(h)
    return np.array(ys), (src, tgt, We, Ue, Wd, Ud, Wo, he, hd)


def seq2seq_backward(dys, cache):
    src, tgt, We, Ue, Wd, Ud, Wo, he, hd = cache
    g = {k: np.zeros_like(v) for k, v in dict(We=We, Ue=Ue, Wd=Wd, Ud=Ud, Wo=Wo).items()}
    dh = np.zeros(len(Ue))
    for n in range(len(tgt) - 1, -1, -1):
        g["Wo"] += np.outer(hd[n + 1], dys[n])
        dh = dh + Wo @ dys[n]
        dz = dh * (1 - hd[n + 1] ** 2)
        g["Wd"][tgt[n]] += dz
        g["Ud"] += np.outer(hd[n], dz)
        dh = Ud @ dz
    # dh is now the gradient of the last state of the encoder
    for n in range(len(src) - 1, -1, -1):
        dz = dh * (1 - he[n + 1] ** 2)
        g["We"][src[n]] += dz
        g["Ue"] += np.outer(he[n], dz)
        dh = Ue @ dz
    return g["We"], g["Ue"], g["Wd"], g["Ud"], g["Wo"]


def seq2seq_args(rng):
    return [1, 3, 3, 0], [2, 4, 2], *normal((5, 3), (3, 3), (6, 3), (3, 3), (3, 2))(rng)


add = family("encoder and decoder", seq2seq, seq2seq_backward, seq2seq_args)
add("encoder's derivative one state early", "G3", "We Ue", ("(1 - he[n + 1] ** 2)", "(1 - he[n] ** 2)"), source=False)
add("the state's gradient is replaced by the output's", "G1", "We Ue Wd Ud", ("dh = dh + Wo @ dys[n]", "dh = Wo @ dys[n]"))
add("outputs paired with the states before", "G3", "Wo", ("np.outer(hd[n + 1], dys[n])", "np.outer(hd[n], dys[n])"),
    args=single(seq2seq_args))

# ---------------------------------------------------------------- Elman's net with a final state that somebody uses


def elman(xs, hprev, U, W, V):
    hs, ys = [hprev], []
    for x in xs:
        hs.append(np.tanh(x @ U + hs[-1] @ W))
        ys.append(hs[-1] @ V)
    return (np.stack(ys), hs[-1]), (xs, U, W, V, hs)


def elman_step_back(x, h_before, h, dh, U, W):
    da = dh * (1 - h * h)
    return da @ U.T, da @ W.T, np.outer(x, da), np.outer(h_before, da)


def elman_backward(douts, cache):
    dys, dh_final = douts
    xs, U, W, V, hs = cache
    dxs = [None] * len(xs)
    dU, dW, dV = 0, 0, 0
    dh_next = dh_final
    for t in reversed(range(len(xs))):
        dV = dV + np.outer(hs[t + 1], dys[t])
        dh = V @ dys[t] + dh_next
        dxs[t], dh_next, dU_t, dW_t = elman_step_back(xs[t], hs[t], hs[t + 1], dh, U, W)
        dU = dU + dU_t
        dW = dW + dW_t
    return np.array(dxs), dh_next, dU, dW, dV


add = family("Elman's net", elman, elman_backward, normal((4, 2), 3, (2, 3), (3, 3), (3, 5)), (elman_step_back,))
add("gradient of the final state dropped", "C5", "xs hprev U W", ("dh_next = dh_final", "dh_next = np.zeros_like(dh_final)"), also=("C8", "G1"), source=False)

# ---------------------------------------------------------------- the caption's loss


def temporal_softmax(x, y, mask):
    N, T, V = x.shape
    p = np.exp(x - x.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    logs = np.log(p[np.arange(N)[:, None], np.arange(T), y])
    return -np.sum(mask * logs) / N, (p, y, mask)


def temporal_softmax_backward(dloss, cache):
    p, y, mask = cache
    N, T, V = p.shape
    dx_flat = p.reshape(N * T, V).copy()
    dx_flat[np.arange(N * T), y.reshape(N * T)] -= 1
    dx_flat /= N
    dx_flat *= mask.reshape(N * T)[:, None]
    return dloss * dx_flat.reshape(N, T, V)


add = family("captions", temporal_softmax, temporal_softmax_backward,
             lambda rng: (rng.standard_normal((3, 4, 5)), rng.integers(0, 5, (3, 4)), rng.random((3, 4)) < 0.7))
add("padding not masked", "E5", "x", ("dx_flat *= mask.reshape(N * T)[:, None]", ""), also=("C8", "C1"))
add("divided by the tokens", "A2", "x", ("dx_flat /= N", "dx_flat /= N * T"), source=False, also=("A4", "A3"))

# ---------------------------------------------------------------- attention


def causal_attention(x, w_qkv, w_out, heads):
    T, D = x.shape
    q, k, v = ((x @ w).reshape(T, heads, D // heads).transpose(1, 0, 2) for w in np.split(w_qkv, 3, axis=1))
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(D // heads)
    scores = np.where(np.tril(np.ones((T, T))) > 0, scores, -1e9)
    att = np.exp(scores - scores.max(axis=-1, keepdims=True))
    att = att / att.sum(axis=-1, keepdims=True)
    y = (att @ v).transpose(1, 0, 2).reshape(T, D)
    return y @ w_out, (x, w_qkv, w_out, heads, q, k, v, att, y)


def merge(h):
    return h.transpose(1, 0, 2).reshape(h.shape[1], -1)


def causal_attention_backward(dout, cache):
    x, w_qkv, w_out, heads, q, k, v, att, y = cache
    T, D = x.shape
    dw_out = y.T @ dout
    dy = (dout @ w_out.T).reshape(T, heads, D // heads).transpose(1, 0, 2)
    datt = dy @ v.transpose(0, 2, 1)
    dv = att.transpose(0, 2, 1) @ dy
    dscores = att * (datt - (att * datt).sum(axis=-1, keepdims=True))
    dscores = dscores / np.sqrt(D // heads)
    dq = dscores @ k
    dk = dscores.transpose(0, 2, 1) @ q
    dqkv = np.concatenate([merge(dq), merge(dk), merge(dv)], axis=1)
    return dqkv @ w_qkv.T, x.T @ dqkv, dw_out


add = family("causal attention", causal_attention, causal_attention_backward, normal((5, 6), (6, 18), (6, 6), then=(2,)), (merge,))
add("not scaled on the way back", "A4", "x w_qkv", ("dscores = dscores / np.sqrt(D // heads)", ""), source=False)
add("softmax's sum over the queries", "B4", "x w_qkv", ("(att * datt).sum(axis=-1, keepdims=True)", "(att * datt).sum(axis=-2, keepdims=True)"), also=("C6",))
add("weights not transposed for the values", "B1", "x w_qkv", ("dv = att.transpose(0, 2, 1) @ dy", "dv = att @ dy"), source=False)
add("keys first", "B5", "x w_qkv", ("[merge(dq), merge(dk), merge(dv)]", "[merge(dk), merge(dq), merge(dv)]"))
add("softmax taken for its diagonal", "C6", "x w_qkv", ("att * (datt - (att * datt).sum(axis=-1, keepdims=True))", "att * (1 - att) * datt"),
    args=single(normal((5, 6), (6, 18), (6, 6), then=(2,))))


def additive_attention(h, s, W, U, v):
    e, tanhs = [], []
    for t in range(len(h)):
        tanhs.append(np.tanh(W @ h[t] + U @ s))
        e.append(v @ tanhs[t])
    e = np.exp(np.array(e))
    alpha = e / e.sum()
    context = sum(alpha[t] * h[t] for t in range(len(h)))
    return context, (h, s, W, U, v, tanhs, alpha)


def additive_attention_backward(dcontext, cache):
    h, s, W, U, v, tanhs, alpha = cache
    dh, ds, dW, dU, dv = [np.zeros_like(z) for z in (h, s, W, U, v)]
    dalpha = np.array([dcontext @ h_t for h_t in h])
    de = alpha * (dalpha - alpha @ dalpha)
    for t in range(len(h)):
        dh[t] += alpha[t] * dcontext
        dv += de[t] * tanhs[t]
        dz = de[t] * v * (1 - tanhs[t] ** 2)
        dW += np.outer(dz, h[t])
        dU += np.outer(dz, s)
        dh[t] += W.T @ dz
        ds += U.T @ dz
    return dh, ds, dW, dU, dv


add = family("additive attention", additive_attention, additive_attention_backward, normal((4, 3), 2, (5, 3), (5, 2), 5))
add("state's gradient of the last annotation", "E1", "s", ("ds += U.T @ dz", "ds = U.T @ dz"), source=False)
add("softmax without what the weights share", "C6", "h s W U v", ("alpha * (dalpha - alpha @ dalpha)", "alpha * dalpha"))

# ---------------------------------------------------------------- convolution by four loops, deeplearning.ai: NHWC


def conv_nhwc(A_prev, W, b, hparameters):
    stride, pad = hparameters["stride"], hparameters["pad"]
    m, n_H_prev, n_W_prev, n_C_prev = A_prev.shape
    f_h, f_w, n_C_prev, n_C = W.shape
    n_H = (n_H_prev - f_h + 2 * pad) // stride + 1
    n_W = (n_W_prev - f_w + 2 * pad) // stride + 1
    Z = np.zeros((m, n_H, n_W, n_C))
    A_prev_pad = np.pad(A_prev, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    for i in range(m):
        for h in range(n_H):
            for w in range(n_W):
                a_slice = A_prev_pad[i, h * stride : h * stride + f_h, w * stride : w * stride + f_w]
                for c in range(n_C):
                    Z[i, h, w, c] = np.sum(a_slice * W[:, :, :, c]) + b[0, 0, 0, c]
    return Z, (A_prev, W, b, hparameters)


def conv_nhwc_backward(dZ, cache):
    A_prev, W, b, hparameters = cache
    stride, pad = hparameters["stride"], hparameters["pad"]
    f_h, f_w, n_C_prev, n_C = W.shape
    m, n_H, n_W, n_C = dZ.shape
    dA_prev = np.zeros(A_prev.shape)
    dW = np.zeros(W.shape)
    db = np.zeros(b.shape)
    A_prev_pad = np.pad(A_prev, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    dA_prev_pad = np.pad(dA_prev, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    for i in range(m):
        a_prev_pad = A_prev_pad[i]
        da_prev_pad = dA_prev_pad[i]
        for h in range(n_H):
            for w in range(n_W):
                for c in range(n_C):
                    vert_start = h * stride
                    vert_end = vert_start + f_h
                    horiz_start = w * stride
                    horiz_end = horiz_start + f_w
                    a_slice = a_prev_pad[vert_start:vert_end, horiz_start:horiz_end, :]
                    da_prev_pad[vert_start:vert_end, horiz_start:horiz_end, :] += W[:, :, :, c] * dZ[i, h, w, c]
                    dW[:, :, :, c] += a_slice * dZ[i, h, w, c]
                    db[:, :, :, c] += dZ[i, h, w, c]
        dA_prev[i, :, :, :] = da_prev_pad[pad : pad + A_prev.shape[1], pad : pad + A_prev.shape[2], :]
    return dA_prev, dW, db


def conv_nhwc_args(rng):
    return *normal((2, 5, 6, 2), (3, 2, 2, 3), (1, 1, 1, 3))(rng), {"stride": 2, "pad": 1}


add = family("convolution of NHWC", conv_nhwc, conv_nhwc_backward, conv_nhwc_args)
add("windows one pixel apart", "F2", "A_prev W", ("vert_start = h * stride", "vert_start = h"), source=False)
add("overlapping windows overwrite", "E1", "A_prev", ("horiz_start:horiz_end, :] += W", "horiz_start:horiz_end, :] = W"), source=False)
add("padding not cut at the top", "F3", "A_prev", ("da_prev_pad[pad : pad + A_prev.shape[1], pad", "da_prev_pad[: A_prev.shape[1], pad"))
add("all filters share a bias", "B4", "b", ("db[:, :, :, c] += dZ", "db[:, :, :, :] += dZ"), source=False, also=("E1",))
add("the first image for all", "B6", "W", ("a_prev_pad = A_prev_pad[i]", "a_prev_pad = A_prev_pad[0]"))

# ---------------------------------------------------------------- deep learning from scratch: im2col, and a class


def im2col(input_data, filter_h, filter_w, stride=1, pad=0):
    N, C, H, W = input_data.shape
    out_h = (H + 2 * pad - filter_h) // stride + 1
    out_w = (W + 2 * pad - filter_w) // stride + 1
    img = np.pad(input_data, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    col = np.zeros((N, C, filter_h, filter_w, out_h, out_w))
    for y in range(filter_h):
        for x in range(filter_w):
            col[:, :, y, x] = img[:, :, y : y + stride * out_h : stride, x : x + stride * out_w : stride]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(N * out_h * out_w, -1)


def col2im(col, input_shape, filter_h, filter_w, stride=1, pad=0):
    N, C, H, W = input_shape
    out_h = (H + 2 * pad - filter_h) // stride + 1
    out_w = (W + 2 * pad - filter_w) // stride + 1
    col = col.reshape(N, out_h, out_w, C, filter_h, filter_w).transpose(0, 3, 4, 5, 1, 2)
    img = np.zeros((N, C, H + 2 * pad + stride - 1, W + 2 * pad + stride - 1))
    for y in range(filter_h):
        y_max = y + stride * out_h
        for x in range(filter_w):
            x_max = x + stride * out_w
            img[:, :, y:y_max:stride, x:x_max:stride] += col[:, :, y, x, :, :]
    return img[:, :, pad : H + pad, pad : W + pad]


class Convolution:
    def __init__(self, W, b, stride=1, pad=0):
        self.W, self.b = W, b
        self.stride, self.pad = stride, pad
        self.x = self.col = self.col_W = self.dW = self.db = None

    def forward(self, x):
        FN, C, FH, FW = self.W.shape
        N, C, H, W = x.shape
        out_h = 1 + (H + 2 * self.pad - FH) // self.stride
        out_w = 1 + (W + 2 * self.pad - FW) // self.stride
        col = im2col(x, FH, FW, self.stride, self.pad)
        col_W = self.W.reshape(FN, -1).T
        out = np.dot(col, col_W) + self.b
        self.x, self.col, self.col_W = x, col, col_W
        return out.reshape(N, out_h, out_w, -1).transpose(0, 3, 1, 2)

    def backward(self, dout):
        FN, C, FH, FW = self.W.shape
        dout = dout.transpose(0, 2, 3, 1).reshape(-1, FN)
        self.db = np.sum(dout, axis=0)
        self.dW = np.dot(self.col.T, dout)
        self.dW = self.dW.transpose(1, 0).reshape(FN, C, FH, FW)
        dcol = np.dot(dout, self.col_W.T)
        dx = col2im(dcol, self.x.shape, FH, FW, self.stride, self.pad)
        return dx


def convolution(x, W, b):
    return Convolution(W, b, 2, 1).forward(x), (x, W, b)


def convolution_backward(dout, cache):
    x, W, b = cache
    layer = Convolution(W, b, 2, 1)
    layer.forward(x)
    dx = layer.backward(dout)
    return dx, layer.dW, layer.db


add = family("Convolution", convolution, convolution_backward, normal((2, 3, 6, 5), (4, 3, 3, 2), 4), (col2im, Convolution))
add("columns of dW not transposed", "B1", "W", ("self.dW.transpose(1, 0).reshape(FN, C, FH, FW)", "self.dW.reshape(FN, C, FH, FW)"), source=False)
add("mean for the bias", "A2", "b", ("self.db = np.sum(dout, axis=0)", "self.db = np.mean(dout, axis=0)"))
add("kernel turned like in mathematics", "F1", "W", ("self.dW.transpose(1, 0).reshape(FN, C, FH, FW)",
    "self.dW.transpose(1, 0).reshape(FN, C, FH, FW)[:, :, ::-1, ::-1]"), source=False)

# ---------------------------------------------------------------- pooling, deeplearning.ai


def pool_forward(A_prev, hparameters, mode):
    f_h, f_w, stride = hparameters["f_h"], hparameters["f_w"], hparameters["stride"]
    m, n_H_prev, n_W_prev, n_C = A_prev.shape
    n_H, n_W = 1 + (n_H_prev - f_h) // stride, 1 + (n_W_prev - f_w) // stride
    A = np.zeros((m, n_H, n_W, n_C))
    for i in range(m):
        for h in range(n_H):
            for w in range(n_W):
                for c in range(n_C):
                    window = A_prev[i, h * stride : h * stride + f_h, w * stride : w * stride + f_w, c]
                    A[i, h, w, c] = np.max(window) if mode == "max" else np.mean(window)
    return A, (A_prev, hparameters, mode)


def create_mask_from_window(x):
    mask = x == np.max(x)
    return mask


def distribute_value(dz, shape):
    (n_H, n_W) = shape
    average = dz / (n_H * n_W)
    a = np.ones(shape) * average
    return a


def pool_backward(dA, cache):
    A_prev, hparameters, mode = cache
    f_h, f_w, stride = hparameters["f_h"], hparameters["f_w"], hparameters["stride"]
    m, n_H, n_W, n_C = dA.shape
    dA_prev = np.zeros(A_prev.shape)
    for i in range(m):
        a_prev = A_prev[i]
        for h in range(n_H):
            for w in range(n_W):
                for c in range(n_C):
                    r = slice(h * stride, h * stride + f_h)
                    s = slice(w * stride, w * stride + f_w)
                    if mode == "max":
                        mask = create_mask_from_window(a_prev[r, s, c])
                        dA_prev[i, r, s, c] += mask * dA[i, h, w, c]
                    elif mode == "average":
                        da = dA[i, h, w, c]
                        dA_prev[i, r, s, c] += distribute_value(da, (f_h, f_w))
    return dA_prev


POOL = {"f_h": 3, "f_w": 2, "stride": 2}
add = family("pooling", pool_forward, pool_backward, normal((2, 5, 6, 3), then=(POOL, "average")), (create_mask_from_window, distribute_value))
add("average without the gradient from above", "C5", "A_prev", ("average = dz / (n_H * n_W)", "average = 1 / (n_H * n_W)"), source=False)
add("row offset for the columns too", "F2", "A_prev", ("s = slice(w * stride, w * stride + f_w)", "s = slice(w, w + f_w)"),
    source=False, args=normal((2, 5, 6, 3), then=(POOL, "max")))

# ---------------------------------------------------------------- squeeze and excite


def squeeze_excite(x, W1, W2):
    pooled = x.mean(axis=(2, 3))
    hidden = np.maximum(pooled @ W1, 0)
    gate = sig(hidden @ W2)
    return x * gate[:, :, None, None], (x, W1, W2, pooled, hidden, gate)


def squeeze_excite_backward(dout, cache):
    x, W1, W2, pooled, hidden, gate = cache
    H, W = x.shape[2:]
    dx = dout * gate[:, :, None, None]
    dgate = (dout * x).sum(axis=(2, 3))
    dscore = dgate * gate * (1 - gate)
    dW2 = hidden.T @ dscore
    dhidden = (dscore @ W2.T) * (hidden > 0)
    dW1 = pooled.T @ dhidden
    dpooled = dhidden @ W1.T
    dx += dpooled[:, :, None, None] / (H * W)
    return dx, dW1, dW2


add = family("squeeze and excite", squeeze_excite, squeeze_excite_backward, normal((3, 4, 2, 5), (4, 6), (6, 4)))
add("no way through the gate", "C8", "x", ("dx += dpooled[:, :, None, None] / (H * W)", ""))
add("gate's gradient averaged over the places", "A2", "x W1 W2", ("dgate = (dout * x).sum(axis=(2, 3))", "dgate = (dout * x).mean(axis=(2, 3))"),
    source=False, also=("A5", "A4"))
add("pooled gradient not shared out", "A5", "x", ("dpooled[:, :, None, None] / (H * W)", "dpooled[:, :, None, None]"), source=False)
add("gate for its derivative", "C3", "x W1 W2", ("dscore = dgate * gate * (1 - gate)", "dscore = dgate * gate"))

# ---------------------------------------------------------------- words, the largest over time


def max_over_time(tokens, E, W):
    feats = E[tokens]
    pooled = feats.max(axis=1)
    return pooled @ W, (tokens, E, W, feats, pooled)


def max_over_time_backward(dout, cache):
    tokens, E, W, feats, pooled = cache
    dW = pooled.T @ dout
    dpooled = dout @ W.T
    dfeats = np.zeros_like(feats)
    winner = feats.argmax(axis=1)
    for n in range(len(feats)):
        for k in range(feats.shape[2]):
            dfeats[n, winner[n, k], k] = dpooled[n, k]
    dE = np.zeros_like(E)
    np.add.at(dE, tokens, dfeats)
    return dE, dW


add = family("largest over time", max_over_time, max_over_time_backward,
             lambda rng: (np.array([[1, 4, 1, 0], [5, 3, 3, 5], [2, 2, 6, 2]]), *normal((7, 5), (5, 2))(rng)))
add("every occurrence of the winning word is paid", "F6", "E",
    ("dfeats[n, winner[n, k], k] = dpooled[n, k]", "dfeats[n, feats[n, :, k] == pooled[n, k], k] = dpooled[n, k]"), also=("E2",))
add("winners over the batch", "B4", "E", ("winner = feats.argmax(axis=1)", "winner = feats.argmax(axis=0)"), source=False)

# ---------------------------------------------------------------- a convolution for each channel, "full" backward


def correlate_valid(a, k):
    kh, kw = k.shape
    out = np.zeros((a.shape[0] - kh + 1, a.shape[1] - kw + 1))
    for u in range(kh):
        for v in range(kw):
            out += k[u, v] * a[u : u + out.shape[0], v : v + out.shape[1]]
    return out


def depthwise(x, w):
    return np.stack([correlate_valid(x[c], w[c]) for c in range(len(x))]), (x, w)


def rot180(k):
    return k[::-1, ::-1]


def depthwise_backward(dout, cache):
    x, w = cache
    C, KH, KW = w.shape
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    for c in range(C):
        padded = np.pad(dout[c], ((KH - 1, KH - 1), (KW - 1, KW - 1)))
        dx[c] = correlate_valid(padded, rot180(w[c]))
        dw[c] = correlate_valid(x[c], dout[c])
    return dx, dw


add = family("depthwise convolution", depthwise, depthwise_backward, normal((3, 6, 5), (3, 3, 2)), (rot180,))
add("turned in one direction only", "F1", "x", ("return k[::-1, ::-1]", "return k[::-1, :]"), source=False)
add("not turned", "F1", "x", ("correlate_valid(padded, rot180(w[c]))", "correlate_valid(padded, w[c])"), args=single(normal((3, 6, 5), (3, 3, 2))))

# ---------------------------------------------------------------- dilated and causal


def causal_conv(x, w, d):
    N, C, T = x.shape
    y = np.zeros((N, w.shape[0], T))
    for t in range(T):
        for k in range(w.shape[2]):
            if t - k * d >= 0:
                y[:, :, t] += x[:, :, t - k * d] @ w[:, :, k].T
    return y, (x, w, d)


def causal_conv_backward(dy, cache):
    x, w, d = cache
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for t in range(x.shape[2]):
        for k in range(w.shape[2]):
            if t - k * d >= 0:
                dx[:, :, t - k * d] += dy[:, :, t] @ w[:, :, k]
                dw[:, :, k] += dy[:, :, t].T @ x[:, :, t - k * d]
    return dx, dw


add = family("dilated convolution", causal_conv, causal_conv_backward, normal((2, 3, 7), (4, 3, 3), then=(2,)))
add("not dilated on the way back", "F2", "x", ("dx[:, :, t - k * d] += dy", "dx[:, :, t - k] += dy"))
add("the first sample never reached", "F3", "x w", ("if t - k * d >= 0:", "if t - k * d > 0:"), source=False, also=("G2", "C8"))
add("taps of the kernel in the other order", "F1", "x", ("dy[:, :, t] @ w[:, :, k]", "dy[:, :, t] @ w[:, :, -k - 1]"), source=False)
add("one step of the kernel's gradient", "E1", "w", ("dw[:, :, k] += dy", "dw[:, :, k] = dy"), args=single(normal((2, 3, 7), (4, 3, 3), then=(2,))))

# ---------------------------------------------------------------- transposed convolution


def deconv(x, w, s):
    h, wd = x.shape
    kh, kw = w.shape
    out = np.zeros(((h - 1) * s + kh, (wd - 1) * s + kw))
    for i in range(h):
        for j in range(wd):
            out[i * s : i * s + kh, j * s : j * s + kw] += x[i, j] * w
    return out, (x, w, s)


def deconv_backward(dout, cache):
    x, w, s = cache
    kh, kw = w.shape
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            patch = dout[i * s : i * s + kh, j * s : j * s + kw]
            dx[i, j] = np.sum(patch * w)
            dw += patch * x[i, j]
    return dx, dw


add = family("transposed convolution", deconv, deconv_backward, normal((4, 3), (3, 2), then=(2,)))
add("kernel turned where it is not", "F1", "x", ("np.sum(patch * w)", "np.sum(patch * w[::-1, ::-1])"))
add("mean of the patch", "A5", "x", ("np.sum(patch * w)", "np.mean(patch * w)"), source=False)

# ---------------------------------------------------------------- the front of LeNet: links, tanh, mean pool, RBF


LINKS = ((0, 1), (1, 2), (0, 2), (0, 1, 2))


def lenet_part(x, K, b, V):
    maps, pooled = [], []
    for j, link in enumerate(LINKS):
        a = sum(correlate_valid(x[i], K[j, i]) for i in link) + b[j]
        a = 1.7159 * np.tanh(2 / 3 * a)
        maps.append(a)
        pooled.append(a.reshape(2, 2, 1, 3).mean(axis=(1, 3)))
    code = np.ravel(pooled)
    return np.array([np.sum((code - v) ** 2) for v in V]), (x, K, b, V, maps, code)


def lenet_part_backward(dout, cache):
    x, K, b, V, maps, code = cache
    dcode = np.zeros_like(code)
    dV = np.zeros_like(V)
    for n in range(len(V)):
        dcode += 2 * dout[n] * (code - V[n])
        dV[n] = -2 * dout[n] * (code - V[n])
    dx, dK, db = np.zeros_like(x), np.zeros_like(K), np.zeros_like(b)
    dpooled = dcode.reshape(len(maps), 2, 1)
    for j, link in enumerate(LINKS):
        dmap = np.kron(dpooled[j], np.ones((2, 3))) / 6
        da = dmap * 2 / 3 * (1.7159 - maps[j] ** 2 / 1.7159)
        db[j] = da.sum()
        for i in link:
            for u in range(K.shape[2]):
                for v in range(K.shape[3]):
                    dK[j, i, u, v] = np.sum(da * x[i, u : u + 4, v : v + 3])
                    dx[i, u : u + 4, v : v + 3] += da * K[j, i, u, v]
    return dx, dK, db, dV


def lenet_part_args(rng):
    x, K, b, V = normal((3, 6, 4), (4, 3, 3, 2), 4, (5, 8))(rng)
    return x, K / 3, b / 3, V


add = family("front of LeNet", lenet_part, lenet_part_backward, lenet_part_args)
add("slope of the squashing missing", "A4", "x K b", ("da = dmap * 2 / 3 * (1.7159", "da = dmap * (1.7159"), also=("C3",))
add("prototypes pulled the wrong way", "A1", "V", ("dV[n] = -2 * dout", "dV[n] = 2 * dout"))
add("links of the map before", "F5", "x K", ("for i in link:", "for i in LINKS[j - 1]:"), source=False)
add("pooling tiled", "F2", "x K b", ("np.kron(dpooled[j], np.ones((2, 3))) / 6", "np.tile(dpooled[j], (2, 3)) / 6"), also=("B3",))

# ---------------------------------------------------------------- PReLU


def prelu(x, alpha):
    a = alpha[None, :, None, None]
    return np.where(x > 0, x, a * x), (x, a)


def prelu_backward(dout, cache):
    x, a = cache
    dx = dout * ((x > 0) + a * (x <= 0))
    dalpha = np.sum(dout * x * (x <= 0), axis=(0, 2, 3))
    return dx, dalpha


add = family("PReLU", prelu, prelu_backward, normal((2, 3, 4, 5), 3))
add("negative side closed", "C3", "x", ("dout * ((x > 0) + a * (x <= 0))", "dout * (x > 0)"))

# ---------------------------------------------------------------- upsampling


def upsample(x, w):
    return np.repeat(np.repeat(x * w[:, None, None], 2, axis=2), 3, axis=3), (x, w)


def upsample_backward(dout, cache):
    x, w = cache
    N, C, H, W = x.shape
    blocks = dout.reshape(N, C, H, 2, W, 3)
    dxw = blocks.sum(axis=(3, 5))
    return dxw * w[:, None, None], (dxw * x).sum(axis=(0, 2, 3))


add = family("nearest neighbour", upsample, upsample_backward, normal((2, 3, 4, 5), 3))
add("one pixel of each block", "B3", "x w", ("blocks.sum(axis=(3, 5))", "blocks[:, :, :, 0, :, 0]"), also=("C8", "E1"), source=False)

# ---------------------------------------------------------------- micrograd


class Value:
    def __init__(self, data, children=()):
        self.data = data
        self.grad = 0.0
        self._backward = lambda: None
        self._prev = set(children)

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data + other.data, (self, other))

        def _backward():
            self.grad += out.grad
            other.grad += out.grad

        out._backward = _backward
        return out

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data * other.data, (self, other))

        def _backward():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out._backward = _backward
        return out

    def __pow__(self, other):
        out = Value(self.data**other, (self,))

        def _backward():
            self.grad += (other * self.data ** (other - 1)) * out.grad

        out._backward = _backward
        return out

    def tanh(self):
        x = self.data
        t = (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1)
        out = Value(t, (self,))

        def _backward():
            self.grad += (1 - t**2) * out.grad

        out._backward = _backward
        return out

    def backward(self):
        topo, visited = [], set()

        def build_topo(v):
            if v not in visited:
                visited.add(v)
                for child in v._prev:
                    build_topo(child)
                topo.append(v)

        build_topo(self)
        self.grad = 1.0
        for v in reversed(topo):
            v._backward()


def micrograd_net(x, w, u):
    hidden = []
    for row in w:
        act = Value(0.0)
        for wi, xi in zip(row, x):
            act = act + wi * xi
        hidden.append(act.tanh())
    out = Value(0.5)
    for ui, hi in zip(u, hidden):
        out = out + ui * hi**3 + hi * xi
    return out * out


def micrograd_forward(x, w, u):
    loss = micrograd_net([Value(v) for v in x], [[Value(v) for v in row] for row in w], [Value(v) for v in u])
    return loss.data, (x, w, u)


def micrograd_backward(dloss, cache):
    x, w, u = cache
    xs, ws, us = [Value(v) for v in x], [[Value(v) for v in row] for row in w], [Value(v) for v in u]
    loss = micrograd_net(xs, ws, us)
    loss.backward()
    dx = np.array([v.grad for v in xs])
    dw = np.array([[v.grad for v in row] for row in ws])
    du = np.array([v.grad for v in us])
    return dloss * dx, dloss * dw, dloss * du


add = family("micrograd", micrograd_forward, micrograd_backward, normal(3, (4, 3), 4), (Value, micrograd_net))
add("exponent forgotten", "C3", "x w", ("(other * self.data ** (other - 1))", "(self.data ** (other - 1))"), also=("A4",))
add("the second factor is overwritten", "E1", "x w u", ("other.grad += self.data * out.grad", "other.grad = self.data * out.grad"), source=False)
add("tanh's derivative at its input", "C2", "x w", ("(1 - t**2) * out.grad", "(1 - x**2) * out.grad"), source=False)
add("the factor itself", "B6", "x w u", ("self.grad += other.data * out.grad", "self.grad += self.data * out.grad"))
add("cotangent of the node dropped", "C5", "x w", ("self.grad += (1 - t**2) * out.grad", "self.grad += 1 - t**2"), source=False, also=("C8",))

# ---------------------------------------------------------------- an engine of arrays


def unbroadcast(grad, shape):
    while grad.ndim > len(shape):
        grad = grad.sum(axis=0)
    for axis, n in enumerate(shape):
        if n == 1:
            grad = grad.sum(axis=axis, keepdims=True)
    return grad


class Tensor:
    def __init__(self, data, parents=(), grad_fn=None):
        self.data, self.parents, self.grad_fn = data, parents, grad_fn
        self.grad = np.zeros_like(data)

    def __add__(self, other):
        return Tensor(self.data + other.data, (self, other),
                      lambda g: (unbroadcast(g, self.data.shape), unbroadcast(g, other.data.shape)))

    def __mul__(self, other):
        return Tensor(self.data * other.data, (self, other),
                      lambda g: (unbroadcast(g * other.data, self.data.shape), unbroadcast(g * self.data, other.data.shape)))

    def __matmul__(self, other):
        return Tensor(self.data @ other.data, (self, other), lambda g: (g @ other.data.T, self.data.T @ g))

    def exp(self):
        out = np.exp(self.data)
        return Tensor(out, (self,), lambda g: (g * out,))

    def softplus(self):
        return Tensor(np.log(1 + np.exp(self.data)), (self,), lambda g: (g / (1 + np.exp(-self.data)),))

    def mean(self):
        n = self.data.size
        return Tensor(np.array(self.data.mean()), (self,), lambda g: (g * np.ones_like(self.data) / n,))

    def backward(self, g):
        self.grad = self.grad + g
        if self.grad_fn is not None:
            for parent, each in zip(self.parents, self.grad_fn(g)):
                parent.backward(each)


def tensor_loss(x, w, b, s):
    h = (x @ w + b).softplus()
    return (h * s + (h * h).exp() * s).mean()


def engine_forward(x, w, b, s):
    return tensor_loss(Tensor(x), Tensor(w), Tensor(b), Tensor(s)).data, (x, w, b, s)


def engine_backward(dout, cache):
    leaves = [Tensor(each) for each in cache]
    tensor_loss(*leaves).backward(dout)
    return tuple(leaf.grad for leaf in leaves)


def engine_args(rng):
    x, w, b, s = normal((5, 3), (3, 4), 4, (5, 1))(rng)
    return x, w / 3, b / 3, s


add = family("engine of arrays", engine_forward, engine_backward, engine_args, (unbroadcast, Tensor, tensor_loss))
add("columns of size one not kept", "B2", "s", ("grad = grad.sum(axis=axis, keepdims=True)", "grad = grad.sum(axis=axis)"))
add("leaf keeps its last gradient", "E1", "x w b s", ("self.grad = self.grad + g", "self.grad = g"))
add("softplus has the derivative of its mirror", "C2", "x w b", ("g / (1 + np.exp(-self.data))", "g / (1 + np.exp(self.data))"), source=False, also=("C3",))

# ---------------------------------------------------------------- deep learning from scratch: layers in a list


class Affine:
    def __init__(self, W, b):
        self.W, self.b, self.x, self.dW, self.db = W, b, None, None, None

    def forward(self, x):
        self.x = x
        return np.dot(x, self.W) + self.b

    def backward(self, dout):
        dx = np.dot(dout, self.W.T)
        self.dW = np.dot(self.x.T, dout)
        self.db = np.sum(dout, axis=0)
        return dx


class Sigmoid:
    def forward(self, x):
        self.out = 1 / (1 + np.exp(-x))
        return self.out

    def backward(self, dout):
        return dout * (1.0 - self.out) * self.out


class SoftmaxWithLoss:
    def forward(self, x, t):
        self.t = t
        self.y = np.exp(x - x.max(axis=1, keepdims=True))
        self.y /= self.y.sum(axis=1, keepdims=True)
        return -np.sum(np.log(self.y[np.arange(len(t)), t])) / len(t)

    def backward(self, dout=1):
        batch_size = self.t.shape[0]
        dx = self.y.copy()
        dx[np.arange(batch_size), self.t] -= 1
        dx = dx / batch_size
        return dx * dout


class MultiLayerNet:
    def __init__(self, params, weight_decay_lambda):
        self.params, self.weight_decay_lambda = params, weight_decay_lambda
        self.layers = []
        for i in range(1, len(params) // 2 + 1):
            self.layers.append(Affine(params[f"W{i}"], params[f"b{i}"]))
            self.layers.append(Sigmoid())
        self.layers.pop()
        self.last_layer = SoftmaxWithLoss()

    def loss(self, x, t):
        for layer in self.layers:
            x = layer.forward(x)
        decay = sum(0.5 * self.weight_decay_lambda * np.sum(layer.W**2) for layer in self.layers[::2])
        return self.last_layer.forward(x, t) + decay

    def gradient(self, x, t, dout):
        self.loss(x, t)
        d = self.last_layer.backward(dout)
        for layer in reversed(self.layers):
            d = layer.backward(d)
        grads = {}
        for i, layer in enumerate(self.layers[::2], 1):
            grads[f"W{i}"] = layer.dW + dout * self.weight_decay_lambda * layer.W
            grads[f"b{i}"] = layer.db
        return d, grads


def multi_layer_forward(x, t, params, lam):
    return MultiLayerNet(params, lam).loss(x, t), (x, t, params, lam)


def multi_layer_backward(dout, cache):
    x, t, params, lam = cache
    return MultiLayerNet(params, lam).gradient(x, t, dout)


def multi_layer_args(rng):
    params = {}
    for i, (n, m) in enumerate(((3, 5), (5, 6), (6, 4)), 1):
        params[f"W{i}"], params[f"b{i}"] = rng.standard_normal((n, m)), rng.standard_normal(m)
    return rng.standard_normal((7, 3)), rng.integers(0, 4, 7), params, 0.3


add = family("MultiLayerNet", multi_layer_forward, multi_layer_backward, multi_layer_args, (Affine, Sigmoid, SoftmaxWithLoss, MultiLayerNet))
add("divided by the batch in every affine layer", "A3", P("W1", "W2", "W3"), ("self.dW = np.dot(self.x.T, dout)", "self.dW = np.dot(self.x.T, dout) / len(dout)"),
    also=("A2",))
add("decay twice", "D1", P("W1", "W2", "W3"), ("dout * self.weight_decay_lambda * layer.W", "2 * dout * self.weight_decay_lambda * layer.W"), source=False)

# ---------------------------------------------------------------- highway


def highway(x, Wh, Wt, bt):
    H = np.tanh(x @ Wh)
    Tg = sig(x @ Wt + bt)
    return H * Tg + x * (1 - Tg), (x, Wh, Wt, H, Tg)


def highway_backward(dy, cache):
    x, Wh, Wt, H, Tg = cache
    dH = dy * Tg
    dT = dy * H - dy * x
    dx = dy * (1 - Tg)
    dzh = dH * (1 - H**2)
    dzt = dT * Tg * (1 - Tg)
    dx += dzh @ Wh.T
    dx += dzt @ Wt.T
    return dx, x.T @ dzh, x.T @ dzt, dzt.sum(axis=0)


add = family("highway", highway, highway_backward, normal((4, 5), (5, 5), (5, 5), 5))
add("carry forgotten in the gate", "C8", "x Wt bt", ("dT = dy * H - dy * x", "dT = dy * H"))
add("gradients of the two weights exchanged", "B5", "Wh Wt", ("x.T @ dzh, x.T @ dzt,", "x.T @ dzt, x.T @ dzh,"))

# ---------------------------------------------------------------- a residual block, in place


def residual(x, W1, W2, alpha):
    h = np.maximum(x @ W1, 0)
    return x + alpha * (h @ W2), (x, W1, W2, alpha, h)


def residual_backward(dout, cache):
    x, W1, W2, alpha, h = cache
    dbranch = dout.copy()
    dbranch *= alpha
    dW2 = h.T @ dbranch
    dh = dbranch @ W2.T
    dh[h == 0] = 0
    dW1 = x.T @ dh
    dx = dout + dh @ W1.T
    return dx, dW1, dW2


add = family("residual block", residual, residual_backward, normal((4, 3), (3, 6), (6, 3), then=(0.4,)))
add("the branch scales what the shortcut still needs", "E3", "x", ("dbranch = dout.copy()", "dbranch = dout"))
add("the shortcut is scaled like the branch", "A5", "x", ("dx = dout + dh @ W1.T", "dx = dbranch + dh @ W1.T"), source=False, also=("B6", "E3"))
add("open unless negative", "C1", "x W1", ("dh[h == 0] = 0", "dh[h < 0] = 0"), also=("C3",))

# ---------------------------------------------------------------- GELU, GLU, maxout


def gelu(x):
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + np.tanh(inner)), x


def gelu_backward(dout, x):
    c = np.sqrt(2 / np.pi)
    tanh_out = np.tanh(c * (x + 0.044715 * x**3))
    sech2 = 1 - tanh_out**2
    left = 0.5 * (1 + tanh_out)
    right = 0.5 * x * sech2 * c * (1 + 3 * 0.044715 * x**2)
    return dout * (left + right)


add = family("GELU", gelu, gelu_backward, normal((4, 5)))
add("3 of the cube forgotten", "C3", "x", ("(1 + 3 * 0.044715 * x**2)", "(1 + 0.044715 * x**2)"), source=False)
add("product rule with one term", "C8", "x", ("return dout * (left + right)", "return dout * left"), also=("C3",))


def glu(x, W, b):
    z = x @ W + b
    a, g = np.split(z, 2, axis=1)
    s = sig(g)
    return a * s, (x, W, a, s)


def glu_backward(dout, cache):
    x, W, a, s = cache
    da = dout * s
    dg = dout * a * s * (1 - s)
    dz = np.concatenate((da, dg), axis=1)
    return dz @ W.T, x.T @ dz, dz.sum(axis=0)


add = family("GLU", glu, glu_backward, normal((5, 3), (3, 8), 8))
add("halves in the other order", "B5", "x W b", ("np.concatenate((da, dg), axis=1)", "np.concatenate((dg, da), axis=1)"))


def maxout(x, W, b):
    z = np.stack([x @ W[k] + b[k] for k in range(len(W))])
    return z.max(axis=0), (x, W, z)


def maxout_backward(dout, cache):
    x, W, z = cache
    winner = z.argmax(axis=0)
    dx, dW, db = np.zeros_like(x), np.zeros_like(W), np.zeros((len(W), W.shape[2]))
    for k in range(len(W)):
        dk = dout * (winner == k)
        dx += dk @ W[k].T
        dW[k] = x.T @ dk
        db[k] = dk.sum(axis=0)
    return dx, dW, db


add = family("maxout", maxout, maxout_backward, normal((6, 4), (3, 4, 5), (3, 5)))
add("only the last piece reaches the input", "E1", "x", ("dx += dk @ W[k].T", "dx = dk @ W[k].T"), source=False)

# ---------------------------------------------------------------- losses of pairs and triplets


def triplet(anchor, positive, negative, margin):
    losses = np.sum((anchor - positive) ** 2, axis=1) - np.sum((anchor - negative) ** 2, axis=1) + margin
    return np.maximum(losses, 0).mean(), (anchor, positive, negative, losses)


def triplet_backward(dloss, cache):
    a, p, n, losses = cache
    active = (losses > 0)[:, None] * dloss / len(losses)
    da = 2 * (n - p) * active
    dp = -2 * (a - p) * active
    dn = 2 * (a - n) * active
    return da, dp, dn


add = family("triplets", triplet, triplet_backward, normal((6, 4), (6, 4), (6, 4), then=(1.5,)))
add("easy triplets count as well", "C1", "anchor positive negative", ("(losses > 0)[:, None] * dloss", "np.ones((len(a), 1)) * dloss"), also=("C3",))


def contrastive(x1, x2, same, margin):
    d = np.sqrt(((x1 - x2) ** 2).sum(axis=1))
    loss = np.sum(same * d**2 + (1 - same) * np.maximum(margin - d, 0) ** 2) / (2 * len(d))
    return loss, (x1, x2, same, margin, d)


def contrastive_backward(dloss, cache):
    x1, x2, same, margin, d = cache
    dx1 = np.zeros_like(x1)
    for i in range(len(d)):
        diff = x1[i] - x2[i]
        if same[i]:
            dx1[i] = diff
        elif d[i] < margin:
            dx1[i] = -(margin - d[i]) * diff / d[i]
    dx1 = dloss * dx1 / len(d)
    return dx1, -dx1


add = family("contrastive", contrastive, contrastive_backward,
             lambda rng: (*normal((5, 3), (5, 3))(rng), np.array([1, 0, 0, 1, 0]), 4.0))
add("direction not normalised", "C3", "x1 x2", ("* diff / d[i]", "* diff"), source=False)
add("both twins get the same", "A1", "x2", ("return dx1, -dx1", "return dx1, dx1"))

# ---------------------------------------------------------------- a product over an axis


def product(x):
    return np.prod(x, axis=1), x


def product_backward(dout, x):
    dx = np.zeros_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            dx[i, j] = dout[i] * np.prod(x[i, :j]) * np.prod(x[i, j + 1 :])
    return dx


def with_a_zero(rng):
    x = rng.standard_normal((4, 3))
    x[1, 2] = 0
    return (x,)


def quiet(a, b):
    with np.errstate(all="ignore"):
        return a / b


add = family("product", product, product_backward, with_a_zero)
add("divides the product", "H1", "x", ("np.prod(x[i, :j]) * np.prod(x[i, j + 1 :])", "quiet(np.prod(x[i]), x[i, j])"))
add("the factor is in its own derivative", "B6", "x", ("np.prod(x[i, j + 1 :])", "np.prod(x[i, j:])"), source=False, also=("C3",),
    args=normal((4, 3)))

# ---------------------------------------------------------------- autoencoders


def tied(X, W, b, c, lam):
    H = sig(X @ W + b)
    R = H @ W.T + c
    loss = 0.5 * np.sum((R - X) ** 2) / len(X) + 0.5 * lam * np.sum(W**2)
    return loss, (X, W, b, c, lam, H, R)


def tied_backward(dloss, cache):
    X, W, b, c, lam, H, R = cache
    dR = (R - X) / len(X)
    dc = dR.sum(0)
    dW = dR.T @ H
    dZ = dR @ W * H * (1 - H)
    db = dZ.sum(0)
    dW += X.T @ dZ
    dW += lam * W
    dX = dZ @ W.T
    dX -= dR
    return dloss * dX, dloss * dW, dloss * db, dloss * dc


add = family("tied weights", tied, tied_backward, normal((6, 5), (5, 3), 3, 5, then=(0.3,)))
add("encoder overwrites the decoder", "E1", "W", ("dW += X.T @ dZ", "dW = X.T @ dZ"), source=False, also=("C8",))
add("the target is the input too", "C8", "X", ("dX -= dR", ""))
add("division lost on the way to the encoder", "A2", "X W b", ("dZ = dR @ W * H * (1 - H)", "dZ = (R - X) @ W * H * (1 - H)"))


def vae(x, We, Wl, Wd, seed):
    mu, logvar = x @ We, x @ Wl
    eps = np.random.default_rng(seed).standard_normal(mu.shape)
    z = mu + eps * np.exp(0.5 * logvar)
    y = sig(z @ Wd)
    rec = -np.sum(np.log(y))
    kl = -0.5 * np.sum(1 + logvar - mu**2 - np.exp(logvar))
    return rec + kl, (x, We, Wl, Wd, mu, logvar, eps, z, y)


def vae_backward(dL, cache):
    x, We, Wl, Wd, mu, logvar, eps, z, y = cache
    dlogits = (y - 1) * dL
    dWd = z.T @ dlogits
    dz = dlogits @ Wd.T
    dmu = dz + mu * dL
    dlogvar = dz * eps * 0.5 * np.exp(0.5 * logvar)
    dlogvar += 0.5 * (np.exp(logvar) - 1) * dL
    dx = dmu @ We.T + dlogvar @ Wl.T
    return dx, x.T @ dmu, x.T @ dlogvar, dWd


add = family("VAE", vae, vae_backward, normal((4, 3), (3, 2), (3, 2), (2, 5), then=(3,)))
add("half of the standard deviation", "A4", "x Wl", ("dz * eps * 0.5 * np.exp(", "dz * eps * np.exp("), also=("C3",))
add("divergence pulls the variance the wrong way", "A1", "x Wl", ("0.5 * (np.exp(logvar) - 1) * dL", "0.5 * (1 - np.exp(logvar)) * dL"), source=False)

# ---------------------------------------------------------------- distillation


def distill(student, teacher_logits, labels, temperature, a):
    def soft(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    p, q, hard = soft(np.array(teacher_logits) / temperature), soft(student / temperature), soft(student)
    n = np.arange(len(labels))
    loss = -a * temperature**2 * np.sum(p * np.log(q)) - (1 - a) * np.sum(np.log(hard[n, labels]))
    return loss / len(labels), (p, q, hard, labels, temperature, a)


def distill_backward(dloss, cache):
    p, q, hard, labels, temperature, a = cache
    N = len(labels)
    dhard = hard.copy()
    dhard[np.arange(N), labels] -= 1
    dsoft = (q - p) / temperature
    dz = (1 - a) * dhard + a * temperature**2 * dsoft
    return dloss * dz / N


add = family("distillation", distill, distill_backward,
             lambda rng: (rng.standard_normal((5, 4)), rng.integers(-3, 4, (5, 4)), rng.integers(0, 4, 5), 3.0, 0.4))
add("temperature forgotten", "A4", "student", ("dsoft = (q - p) / temperature", "dsoft = q - p"))

# ---------------------------------------------------------------- Karpathy's Pong


def pong(model, epx, actions, advantages):
    eph = np.maximum(epx @ model["W1"].T, 0)
    p = sig(eph @ model["W2"])
    logp = np.where(actions == 1, np.log(p), np.log(1 - p))
    return -np.sum(advantages * logp), (model, epx, actions, advantages, eph, p)


def policy_backward(dloss, cache):
    model, epx, actions, advantages, eph, p = cache
    epdlogp = p - actions
    epdlogp = epdlogp * advantages * dloss
    dW2 = np.dot(eph.T, epdlogp).ravel()
    dh = np.outer(epdlogp, model["W2"])
    dh[eph <= 0] = 0
    dW1 = np.dot(dh.T, epx)
    return {"W1": dW1, "W2": dW2}


def pong_args(rng):
    model = {"W1": rng.standard_normal((4, 6)), "W2": rng.standard_normal(4)}
    return model, rng.integers(-1, 2, (7, 6)), rng.integers(0, 2, 7), rng.integers(-3, 4, 7)


MODEL = "model['W1'] model['W2']"
add = family("Pong", pong, policy_backward, pong_args)
add("advantage forgotten", "B6", MODEL, ("epdlogp = epdlogp * advantages * dloss", "epdlogp = epdlogp * dloss"), also=("A5", "C8"))

# ---------------------------------------------------------------- matrix factorisation


def ratings_loss(Pu, Qi, bu, bi, ratings, lam):
    loss, errors = 0.0, []
    for u, i, r in ratings:
        e = r - (Pu[u] @ Qi[i] + bu[u] + bi[i])
        errors.append(e)
        loss += e**2 + lam * (np.sum(Pu[u] ** 2) + np.sum(Qi[i] ** 2))
    return loss, (Pu, Qi, bu, bi, ratings, lam, errors)


def ratings_backward(dloss, cache):
    Pu, Qi, bu, bi, ratings, lam, errors = cache
    dP, dQ, dbu, dbi = (np.zeros_like(a) for a in (Pu, Qi, bu, bi))
    for (u, i, r), e in zip(ratings, errors):
        p, q = Pu[u], Qi[i]
        gp = -2 * e * q + 2 * lam * p
        gq = -2 * e * p + 2 * lam * q
        dP[u] += dloss * gp
        dQ[i] += dloss * gq
        dbu[u] += -2 * e * dloss
        dbi[i] += -2 * e * dloss
    return dP, dQ, dbu, dbi


RATINGS = ((0, 1, 4), (0, 3, 2), (1, 1, 5), (2, 0, 1), (2, 2, 3), (2, 3, 4))
add = family("ratings", ratings_loss, ratings_backward, normal((3, 2), (4, 2), 3, 4, then=(RATINGS, 0.2)))
add("a film is rated by one user only", "E1", "bi", ("dbi[i] += -2 * e * dloss", "dbi[i] = -2 * e * dloss"))
add("user moved before the film's turn", "E4", "Qi", ("gq = -2 * e * p +", "gq = -2 * e * (p - 0.1 * gp) +"), source=False)
add("ridge without its 2", "D1", "Pu", ("-2 * e * q + 2 * lam * p", "-2 * e * q + lam * p"), source=False)
add("users' biases are decayed", "D2", "bu", ("dbu[u] += -2 * e * dloss", "dbu[u] += (-2 * e + 2 * lam * bu[u]) * dloss"))

# ---------------------------------------------------------------- unit length


def unit_rows(x, W):
    h = x @ W
    norm = np.sqrt((h**2).sum(axis=1, keepdims=True))
    return h / norm, (x, W, h, norm)


def unit_rows_backward(dout, cache):
    x, W, h, norm = cache
    y = h / norm
    dh = (dout - y * np.sum(y * dout, axis=1, keepdims=True)) / norm
    return dh @ W.T, x.T @ dh


add = family("rows of length one", unit_rows, unit_rows_backward, normal((3, 4), (4, 5)))
add("the norm is a constant", "C7", "x W", ("(dout - y * np.sum(y * dout, axis=1, keepdims=True)) / norm", "dout / norm"), source=False, also=("C8",))

# ---------------------------------------------------------------- an object with buffers


class BufferedNet:
    """Two layers that write into arrays made once."""

    def __init__(self, W, V):
        self.W, self.V = W, V
        self.gW, self.gV = np.zeros_like(W), np.zeros_like(V)

    def run(self, x):
        self.x = x
        self.h = np.tanh(x @ self.W)
        return self.h @ self.V


def buffered(x, W, V):
    net = BufferedNet(W, V)
    return net.run(x), net


def buffered_backward(dout, net):
    net.gW.fill(0)
    net.gV.fill(0)
    net.gV += net.h.T @ dout
    dz = np.empty_like(net.h)
    np.matmul(dout, net.V.T, out=dz)
    slope = np.multiply(net.h, net.h)
    np.subtract(1, slope, out=slope)
    np.multiply(dz, slope, out=dz)
    net.gW += net.x.T @ dz
    return dz @ net.W.T, net.gW.copy(), net.gV.copy()


add = family("buffers", buffered, buffered_backward, normal((5, 3), (3, 4), (4, 2)))
add("gradients of the last call stay", "E2", "V", ("net.gV.fill(0)", ""), source=False)
add("slope not multiplied in", "C1", "x W", ("np.multiply(dz, slope, out=dz)", "np.multiply(dz, slope)"))

# ---------------------------------------------------------------- factorization machine


def fm(X, w0, w, V):
    s = X @ V
    return w0 + X @ w + 0.5 * np.sum(s**2 - (X**2) @ (V**2), axis=1), (X, w, V, s)


def fm_backward(dy, cache):
    X, w, V, s = cache
    dw0 = np.array(dy.sum())
    dw = X.T @ dy
    dV = X.T @ (dy[:, None] * s)
    dV -= V * ((X**2).T @ dy)[:, None]
    dX = dy[:, None] * (w + s @ V.T - X * np.sum(V**2, axis=1))
    return dX, dw0, dw, dV


add = family("factorization machine", fm, fm_backward, lambda rng: (rng.standard_normal((5, 4)), np.array(0.3), *normal(4, (4, 3))(rng)))
add("a feature meets itself", "C8", "X", ("(w + s @ V.T - X * np.sum(V**2, axis=1))", "(w + s @ V.T)"))
add("square of the features forgotten", "C8", "V", ("dV -= V * ((X**2).T @ dy)[:, None]", "dV -= V * (X.T @ dy)[:, None]"), source=False,
    also=("C3", "B6"))
add("squares summed over the features", "B4", "X", ("np.sum(V**2, axis=1))", "np.sum(V**2))"))

# ---------------------------------------------------------------- regression losses


def gaussian_nll(mu, log_sigma, y):
    z = (y - mu) / np.exp(log_sigma)
    return np.mean(log_sigma + 0.5 * z**2), (mu, log_sigma, z)


def gaussian_nll_backward(dloss, cache):
    mu, log_sigma, z = cache
    n = mu.size
    dmu = -z / np.exp(log_sigma) / n
    dlog_sigma = (1 - z**2) / n
    return dloss * dmu, dloss * dlog_sigma


add = family("Gaussian likelihood", gaussian_nll, gaussian_nll_backward,
             lambda rng: (*normal((4, 3), (4, 3))(rng), rng.integers(-3, 4, (4, 3))))
add("spread instead of its logarithm", "C2", "log_sigma", ("dlog_sigma = (1 - z**2) / n", "dlog_sigma = (1 - z**2) / np.exp(log_sigma) / n"),
    also=("C3",))


def huber(w, X, y, delta):
    r = X @ w - y
    small = np.abs(r) <= delta
    return np.sum(np.where(small, 0.5 * r**2, delta * (np.abs(r) - 0.5 * delta))), (w, X, r, small, delta)


def huber_backward(dloss, cache):
    w, X, r, small, delta = cache
    dr = np.where(small, r, delta * np.sign(r)) * dloss
    return X.T @ dr, np.outer(dr, w)


add = family("Huber", huber, huber_backward, lambda rng: (*normal(3, (7, 3))(rng), rng.integers(-3, 4, 7), 1.2))
add("square everywhere", "C3", "w X", ("np.where(small, r, delta * np.sign(r))", "r"))


def bilinear(x, A, y):
    return np.einsum("ni,ij,nj->n", x, A, y), (x, A, y)


def bilinear_backward(d, cache):
    x, A, y = cache
    dx = d[:, None] * (y @ A.T)
    dy = d[:, None] * (x @ A)
    dA = x.T @ (d[:, None] * y)
    return dx, dA, dy


add = family("bilinear", bilinear, bilinear_backward, normal((5, 3), (3, 3), (5, 3)))
add("two sides exchanged", "B5", "x y", ("return dx, dA, dy", "return dy, dA, dx"), source=False)
add("transposed once too often", "B1", "y", ("dy = d[:, None] * (x @ A)", "dy = d[:, None] * (x @ A.T)"))


def flatten_dense(image, w):
    return image.reshape(len(image), -1) @ w, (image, w)


def flatten_dense_backward(dout, cache):
    image, w = cache
    dflat = dout @ w.T
    dimage = np.zeros(image.shape)
    dimage.reshape(-1)[:] = dflat.reshape(-1)
    return dimage, image.reshape(len(image), -1).T @ dout


add = family("flatten", flatten_dense, flatten_dense_backward, normal((4, 2, 3), (6, 5)))
add("a view is taken for granted", "F7", "image", ("dimage = np.zeros(image.shape)", "dimage = np.zeros_like(image)"), source=False)



CASES = tuple(CASES)
