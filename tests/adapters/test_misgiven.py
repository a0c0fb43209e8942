import autograd.numpy as anp
import jax
import numpy as np
import pytest
import torch

from gradcheck import (
    from_autograd,
    from_autograd_function,
    from_custom_vjp,
    from_gradient_in_place,
    from_jax,
    from_layer,
    from_mygrad,
    from_pullback,
    from_torch,
)

ADAPTERS = {
    "from_torch": from_torch,
    "from_jax": from_jax,
    "from_layer": from_layer,
    "from_autograd": from_autograd,
}
OTHERS = (from_mygrad, from_pullback, from_gradient_in_place)


class Layer:
    def __call__(self, x):
        return self.forward(x)

    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


class Rule(torch.autograd.Function):
    pass


def identity(x):
    return x


RULES = [
    (torch.nn.Linear(2, 2), "Linear", "a torch.nn.Module", "from_torch"),
    (Rule, "Rule", "a torch.autograd.Function", "from_torch"),
    (jax.custom_vjp(identity), "identity", "a jax.custom_vjp", "from_jax"),
    (jax.custom_jvp(identity), "identity", "a jax.custom_jvp", "from_jax"),
    (anp.sin, "sin", "a primitive of autograd", "from_autograd"),
    (Layer(), "Layer", "an object with forward and backward", "from_layer"),
]


@pytest.mark.parametrize(("rule", "name", "what", "takes"), RULES, ids=[what for _, _, what, _ in RULES])
def test_a_rule_given_to_the_wrong_adapter_is_sent_to_the_right_one(rule, name, what, takes):
    for adapter in (*ADAPTERS.values(), *OTHERS):
        if adapter is not ADAPTERS[takes]:
            with pytest.raises(TypeError) as error:
                adapter(rule)
            assert str(error.value) == (
                f"{adapter.__name__} must be given a rule of another kind, but {name} is {what}. Pass it to {takes}."
            )
    assert len(ADAPTERS[takes](rule)) == 2


@pytest.mark.parametrize("adapter", [*ADAPTERS.values(), *OTHERS])
def test_what_cannot_be_called_is_refused(adapter):
    with pytest.raises(TypeError, match="must be given a"):
        adapter(3)


def test_a_rule_of_forward_mode_is_sent_from_that_of_reverse_mode_to_jax_also_under_jit():
    for rule in (jax.custom_jvp(identity), jax.jit(jax.custom_jvp(identity))):
        with pytest.raises(TypeError, match=r"but identity is a jax\.custom_jvp\. Pass it to from_jax\.$"):
            from_custom_vjp(rule)


def test_a_module_is_sent_from_the_adapter_of_classes_to_that_of_pytorch():
    with pytest.raises(TypeError, match="to from_torch"):
        from_autograd_function(torch.nn.Linear(2, 2))


def test_a_function_that_is_no_rule_of_another_library_is_taken():
    forward, backward = from_pullback(lambda x: (x, lambda dy: dy))
    np.testing.assert_array_equal(backward(np.ones(2), forward(np.ones(2))[1]), np.ones(2))
