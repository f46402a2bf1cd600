"""Small numeric helpers that several networks share."""

import torch


def full_precision(values: torch.Tensor) -> torch.Tensor:
    """Values in float32, or in float64 if they are."""
    return values if values.dtype == torch.float64 else values.float()


def is_on_host(values: torch.Tensor) -> bool:
    """Whether a question about values costs nothing: they are numbers on the CPU, and no graph is made of what is asked."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or values.device.type != "cpu":
        return False
    # Fake tensors have no numbers, and those of `torch.func` have several at once.
    is_plain = type(values) in (torch.Tensor, torch.nn.Parameter)
    return is_plain and not torch._C._functorch.is_functorch_wrapped_tensor(values)


def is_mixed_precision(values: torch.Tensor) -> bool:
    """Whether autocast chooses the precision of what is computed from values."""
    # PyTorch refuses the question for values without numbers.
    return values.device.type != "meta" and torch.is_autocast_enabled(values.device.type)


def masked_softmax(scores: torch.Tensor, valid: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Softmax over the valid entries along a dimension, computed in at least float32."""
    return full_precision(scores).masked_fill(~valid, -1e30).softmax(dim).to(scores.dtype)


def inverse_sigmoid(value: torch.Tensor, eps: float = 1e-3) -> torch.Tensor:
    """Logit of fractions, with both sides kept at least `eps` away from 0."""
    value = value.clamp(0, 1)
    return torch.log(value.clamp(min=eps) / (1 - value).clamp(min=eps))


__all__ = ["full_precision", "inverse_sigmoid", "is_mixed_precision", "is_on_host", "masked_softmax"]
