"""Whatever maps tensors of PyTorch to tensors: functions, rules, operators, modules. Level 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gradcheck.adapters.apart import must_hold_apart
from gradcheck.adapters.gradients import by_argument
from gradcheck.adapters.libraries import to_numpy
from gradcheck.adapters.misgiven import must_be_function_for
from gradcheck.adapters.signatures import (
    Pair,
    listed,
    must_be_order,
    name_of,
    names_of,
    pair,
    signature_of,
    with_keywords,
)
from gradcheck.adapters.tensors import Evaluation, torch_for
from gradcheck.trees import describe, leaves

__all__ = ["from_torch", "parameters_of"]


def from_torch(function: Any, *, order: int = 1) -> Pair:
    """Return the pair of whatever maps tensors to tensors; the backward is ``torch.autograd.grad`` of it.

    With ``order=2`` the forward is that backward, with the cotangent as a last argument ``dout``, and the backward is
    PyTorch's of it: whether a rule may be differentiated twice, as ``gradgradcheck`` asks.

    ``function`` may be a plain function, a subclass of ``torch.autograd.Function`` or its ``apply``, a
    ``torch.library.custom_op`` with ``register_autograd``, an operator ``torch.ops.…``, or a ``torch.nn.Module``. The
    arguments may be tensors, arrays of NumPy or of JAX, and containers of them; float64 stays float64, and a tensor
    stays on its device. All floats and complex numbers among them require a gradient. It returns one gradient per
    argument, in its form and as NumPy arrays; None for what has none.

    The parameters of a module move by name. The forward takes them first, as a dict ``params`` such as
    ``dict(module.named_parameters())``, and runs the module with them and with copies of its buffers, so that nothing
    of the module changes. It stays in the mode in which it is, training or evaluation; random dropout makes a check
    inconclusive.

    What PyTorch does not differentiate is left out of the output, and the report says so: integers, what is detached
    or marked by ``mark_non_differentiable``, and what is no tensor. Where a rule gives None for an argument, so does
    the backward; of a plain function or a module the gradient of what is not used is zero.

    What ``function`` writes into an argument or a cotangent is written into the arrays given, so that a check sees it.
    But for a module the first backward also tries each output alone, whose cotangent is then None or zeros for the
    others, and each argument alone, which ``needs_input_grad`` then says.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError: ``function`` is no such thing; the message says which adapter takes it, if one does.
        ValueError: ``order`` is neither 1 nor 2.
        ValueError (by the forward): ``params`` names what the module does not have.
        ValueError (by the backward): a gradient changes when only one output is used, or only one argument asks; or a
            module reads its own parameter where it was given another.
    """
    torch = torch_for("from_torch")
    must_be_function_for("from_torch", function)
    must_be_order("from_torch", order)
    known = _Callable.of(torch, function)
    known = known if order == 1 else known.twice(torch)
    names = inspect.Signature(known.parameters)
    tried = known.is_second

    def forward(*args: Any, **named: Any) -> tuple[Any, Any]:
        every = (*args, *named.values())
        run = Evaluation.of(torch, with_keywords(known.call, tuple(named)), every)
        run.write_back(every)
        return run.shown, (every, (*names_of(names, len(args)), *named), run)

    def backward(dout: Any, cache: Any) -> tuple[Any, ...]:
        nonlocal tried
        args, called, run = cache
        cotangents, gradients = run.watched_pull(dout, args)
        if not tried:
            tried = True
            if known.is_module:
                _must_read(known.names[0], function, run)
            else:
                must_hold_apart(known.names[1], run, cotangents, gradients, called)
        return by_argument(run.given, map(to_numpy, gradients if known.is_rule else run.with_zeros(gradients)))

    return pair(forward, backward, names=known.names, parameters=known.parameters)


@dataclass(frozen=True)
class _Callable:
    """How something is called with tensors: its parameters, what its two sides are called in messages, what it is.

    ``is_rule`` says that it has a rule of its own, which gives None where there is no gradient; ``is_second`` that it
    is the backward of what was given.
    """

    call: Callable[..., Any]
    parameters: list[inspect.Parameter]
    names: tuple[str, str]
    is_rule: bool = False
    is_module: bool = False
    is_second: bool = False

    def twice(self, torch: Any) -> _Callable:
        """Return the backward as what is called, with the cotangent as its last argument."""

        def gradients(*args: Any) -> tuple[Any, ...]:
            *primals, dout = args
            asking = [x for _, x in leaves(primals, "") if isinstance(x, torch.Tensor) and x.requires_grad]
            pairs = zip(leaves(self.call(*primals), ""), leaves(dout, ""), strict=True)
            used = [(y, dy) for (_, y), (_, dy) in pairs if isinstance(y, torch.Tensor) and y.requires_grad]
            outputs, cotangents = zip(*used, strict=True)
            found: tuple[Any, ...] = torch.autograd.grad(
                outputs, asking, cotangents, create_graph=True, allow_unused=True, materialize_grads=True
            )
            return found

        dout = inspect.Parameter("dout", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = [each.replace(default=each.empty) for each in self.parameters]
        return replace(self, call=gradients, parameters=[*parameters, dout], names=(self.names[1],) * 2, is_second=True)

    @classmethod
    def of(cls, torch: Any, function: Any) -> _Callable:
        owner = getattr(function, "__self__", function)
        if isinstance(owner, type) and issubclass(owner, torch.autograd.Function):
            sides = (f"{owner.__name__}.forward", f"{owner.__name__}.backward")
            rule: Any = owner
            return cls(rule.apply, _of_rule(torch, rule), sides, is_rule=True)
        if isinstance(function, torch.nn.Module):
            return cls(*_of_module(torch, function), is_module=True)
        name = getattr(function, "_name", None) or name_of(function)
        operator = getattr(function, "_opoverload", getattr(function, "default", function))
        if hasattr(operator, "_schema"):  # what an operator tells as its signature is (*args, **kwargs)
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            own = [inspect.Parameter(each.name, kind) for each in operator._schema.arguments if not each.kwarg_only]  # noqa: SLF001  (there is no public way)
            return cls(function, own, (name, name), is_rule=True)
        return cls(function, list(signature_of(function).parameters.values()), (name, name))


def parameters_of(torch: Any, function: Any) -> list[inspect.Parameter]:
    """Return the parameters of what is called with tensors."""
    return _Callable.of(torch, function).parameters


def _of_rule(torch: Any, function: Any) -> list[inspect.Parameter]:
    """Return the parameters of a rule's forward, without the ``ctx`` of the older style."""
    parameters = list(signature_of(function.forward).parameters.values())
    has_ctx = function.setup_context is torch.autograd.Function.setup_context
    return parameters[1:] if has_ctx and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL else parameters


def _of_module(torch: Any, module: Any) -> tuple[Callable[..., Any], list[inspect.Parameter], tuple[str, str]]:
    who = type(module).__name__
    inputs = signature_of(module.forward).parameters
    first = inspect.Parameter("parameters" if "params" in inputs else "params", inspect.Parameter.POSITIONAL_OR_KEYWORD)

    def call(params: Any, *inputs: Any, **named: Any) -> Any:
        buffers = dict(module.named_buffers())
        known = [name for name, _ in module.named_parameters()]
        if not isinstance(params, Mapping) or not set(params) <= {*known, *buffers}:
            raise ValueError(
                f"{who} must be given {first.name} as a dict of its parameters ({listed(known)}), but was given "
                f"{describe(params)}. Pass dict(module.named_parameters()) as the first argument."
            )
        held = {name: buffer.clone() for name, buffer in buffers.items()} | dict(params)
        return torch.func.functional_call(module, held, inputs, named)

    return call, [first, *inputs.values()], (f"{who}.forward", f"{who}.backward")


def _must_read(who: str, module: Any, run: Evaluation) -> None:
    """Raise a ValueError if the outputs depend on a parameter of the module in the place of one that was given."""
    own = {name: held for name, held in module.named_parameters() if name in run.given[0] and held.requires_grad}
    outputs = [y.abs().sum() for _, y in leaves(run.out, "") if run.asks(y)]
    if not own or not outputs:
        return
    found = run.torch.autograd.grad(sum(outputs), list(own.values()), allow_unused=True, retain_graph=True)
    for name, gradient in zip(own, found, strict=True):
        if gradient is not None:
            raise ValueError(
                f"{who} must read {name} from the module, where another stands during a call, but it reads its own. "
                "Look for a second reference to it, such as a list or an attribute that is no parameter."
            )
