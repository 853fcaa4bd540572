"""oneDNN's products in the model's linear layers: the same numbers, forward and backward."""

import pytest
import torch
from tiny import tiny_policy
from torch import nn

from primum.policy import products
from primum.policy.products import product, quick_products


@pytest.fixture
def any_size(monkeypatch):
    """Products of any size go the fast way, on whatever processor this is."""
    monkeypatch.setattr(products, "LEAST", 1)
    monkeypatch.setattr(products, "onednn_pays", lambda: True)


@pytest.mark.parametrize("rows", [1, 5, 130, 1500])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_has_the_same_values_and_gradients(any_size, rows, bias):
    torch.manual_seed(0)
    layer, x = nn.Linear(24, 40, bias=bias), torch.randn(2, rows, 24).requires_grad_()
    pull, found = torch.randn(2, rows, 40), []
    for quick in (True, False):
        layer.zero_grad()
        with quick_products(layer, 3000) if quick else torch.enable_grad():
            y = layer(x)
            assert ("_Linear" in type(y.grad_fn).__name__) == quick
        (dx,) = torch.autograd.grad((y * pull).sum(), x, retain_graph=True)
        (y * pull).sum().backward()
        found.append([y.detach(), dx, *[p.grad.clone() for p in layer.parameters()]])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, atol=2e-5, rtol=2e-5)


def test_a_frozen_weight_gets_no_gradient_and_a_given_input_none_either(any_size):
    layer, x = nn.Linear(8, 8, bias=False), torch.randn(3, 8)
    with quick_products(layer, 3000):
        layer(x).sum().backward()
        assert x.grad is None
        torch.testing.assert_close(layer.weight.grad, x.sum(0).expand(8, 8))
        layer.weight.requires_grad_(False).grad = None
        layer(x.requires_grad_()).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(3, 8))


def test_after_the_block_the_model_is_as_it_was(any_size):
    model = tiny_policy().model
    before = {name: vars(m).copy() for name, m in model.named_modules()}
    with quick_products(model, 3000), quick_products(model, 3000):
        assert "forward" in vars(model.lm_head)
    with pytest.raises(RuntimeError), quick_products(model, 3000):
        model.lm_head(torch.ones(1, 3))  # of the wrong width
    assert {name: vars(m).keys() for name, m in model.named_modules()} == {n: v.keys() for n, v in before.items()}


def test_layers_too_small_to_gain_are_left_alone(monkeypatch):
    monkeypatch.setattr(products, "onednn_pays", lambda: True)
    monkeypatch.setattr(products, "LEAST", 800)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 5))
    with quick_products(model, 40):
        assert [("forward" in vars(m)) for m in model] == [False, True]  # 640 and 800 multiplications


def test_a_product_without_gradient_is_that_of_the_matrices(any_size):
    a, b = torch.randn(7, 5), torch.randn(5, 9)
    torch.testing.assert_close(product(a, b.T), a @ b)


def test_half_precision_autocast_and_small_products_stay_with_pytorch():
    model, x = nn.Linear(8, 8), torch.randn(3, 8)
    with quick_products(model, 3000):
        assert "_Linear" not in type(model(x).grad_fn).__name__
    with torch.autocast("cpu", torch.bfloat16), quick_products(model, 3000):
        assert model(x).dtype == torch.bfloat16
