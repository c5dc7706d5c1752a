"""How strong the gradients of the terms of a loss are."""

import torch


def watched(values: torch.Tensor, norms: list[torch.Tensor]) -> torch.Tensor:
    """The same values. The Euclidean norm of the gradient that comes back to them by this way, a scalar, is appended to `norms`
    in the backward pass; the gradient itself stays as it is."""
    way = values.view_as(values)
    way.register_hook(lambda gradient: norms.append(torch.linalg.vector_norm(gradient)))
    return way


def ratio(norms: list[torch.Tensor], others: list[torch.Tensor]) -> torch.Tensor:
    """Of the one norm in each list, a scalar; 0 where both are."""
    (norm,), (other,) = norms, others
    return norm / other.clamp(min=torch.finfo(other.dtype).tiny)
