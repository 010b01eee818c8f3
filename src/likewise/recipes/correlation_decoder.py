"""The parts of PC-AE: the decoder that pairwise correlations determine, and the codes it is read by.

Bits x (n, v) are -1 or 1, codes e (n, h) lie in [-1, 1], weights are W (v, h). Everything is convex in the
codes and convex in the weights. What it doesn't know: an encoder network; a code is found, not computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from likewise.errors import InputError

__all__ = [
    "PairwiseDecoder",
    "check_codes",
    "correlations",
    "cross_entropy",
    "decoder_slack",
    "fit_codes",
    "fit_weights",
    "pairwise_decoder",
]


def correlations(bits: Tensor, codes: Tensor) -> Tensor:
    """``B = X'E / n`` (v, h): all that the decoder is told.

    >>> correlations(torch.tensor([[1.0], [-1.0]]), torch.tensor([[0.5], [0.5]]))
    tensor([[0.]])
    """
    _check_rows(bits, codes)
    return bits.T @ codes / len(bits)


def decoder_slack(weights: Tensor, codes: Tensor, told: Tensor) -> Tensor:
    """``-b'w + mean Psi(w'e)`` for every bit (v,), ``Psi(m) = ln(1 + e^m) + ln(1 + e^-m)``.

    Half its sum is the worst cross-entropy that bits with the correlations ``told`` (v, h) can have; with
    correlations from these very codes it is the cross-entropy itself.
    """
    check_codes(codes, weights)
    scores = codes @ weights.T
    return (softplus(scores) + softplus(-scores)).mean(dim=0) - (told * weights).sum(dim=1)


def cross_entropy(weights: Tensor, codes: Tensor, bits: Tensor) -> Tensor:
    """Nats of each example (n,): logits ``We`` against labels ``(1 + x) / 2``, summed over bits."""
    check_codes(codes, weights)
    _check_rows(bits, codes)
    return softplus(-bits * (codes @ weights.T)).sum(dim=1)


def fit_weights(
    weights: Tensor, codes: Tensor, told: Tensor, *, steps: int, rate: float = 0.3, sparsity: float = 0.0
) -> Tensor:
    """``min_W sum of slacks / 2 + sparsity |W|_1`` by Adagrad: v logistic regressions at once.

    The slope by w is ``mean tanh(w'e / 2) e - b``; the price on W is taken by shrinking it after each step.
    """
    check_codes(codes, weights)
    found, squares = weights.clone(), torch.full_like(weights, 1e-10)
    for _ in range(steps):
        slope = torch.tanh((codes @ found.T).mul_(0.5)).T @ codes / len(codes) - told
        squares += slope * slope
        pace = rate / squares.sqrt()
        found -= pace * slope
        if sparsity:
            found = found.sign() * (found.abs() - 2 * sparsity * pace).clamp_(min=0.0)
    return found


def fit_codes(
    bits: Tensor, weights: Tensor, *, steps: int, rate: float = 0.3, start: Tensor | None = None
) -> Tensor:
    """``e(x) = argmin over the box of sum_v (-x_v w_v'e + Psi(w_v'e))`` by projected Adagrad: (n, h).

    Parameters
    ----------
    start : Tensor (n, h), optional
        Where to begin; zero by default.
    """
    codes = bits.new_zeros(len(bits), weights.shape[1]) if start is None else start.clone()
    check_codes(codes, weights)
    _check_rows(bits, codes)
    squares = torch.full_like(codes, 1e-10)
    for _ in range(steps):
        residual = torch.tanh((codes @ weights.T).mul_(0.5)).sub_(bits)
        slope = residual @ weights
        squares += slope * slope
        codes = (codes - rate * slope / squares.sqrt()).clamp_(-1.0, 1.0)
    return codes


@dataclass(frozen=True)
class PairwiseDecoder:
    """Weights (v, h), and the codes (n, h) of the bits they were learned from."""

    weights: Tensor
    codes: Tensor

    def decoded(self, codes: Tensor) -> Tensor:
        """``tanh(We / 2)``: the expected bits (n, v) of codes (n, h)."""
        check_codes(codes, self.weights)
        return torch.tanh(codes @ self.weights.T / 2)


def pairwise_decoder(
    bits: Tensor,
    *,
    units: int,
    rounds: int,
    steps: int,
    generator: torch.Generator,
    spread: float = 1.0,
    sparsity: float = 0.0,
    rate: float = 0.3,
) -> PairwiseDecoder:
    """Alternate ``steps`` steps of the codes and as many of the weights, ``rounds`` times.

    Parameters
    ----------
    bits : Tensor (n, v) of -1 and 1
    spread : float
        The deviation of the normal weights that it begins with.
    sparsity : float >= 0
        The price of the sum of absolute weights.
    """
    if not ((bits == 1) | (bits == -1)).all():
        raise InputError("bits must be -1 or 1; found other numbers: take 2 * bits - 1 of 0 and 1")
    weights = spread * torch.randn(bits.shape[1], units, generator=generator, dtype=bits.dtype)
    codes = bits.new_zeros(len(bits), units)
    for _ in range(rounds):
        codes = fit_codes(bits, weights, steps=steps, rate=rate, start=codes)
        told = correlations(bits, codes)
        weights = fit_weights(weights, codes, told, steps=steps, rate=rate, sparsity=sparsity)
    return PairwiseDecoder(weights, fit_codes(bits, weights, steps=steps, rate=rate, start=codes))


def check_codes(codes: Tensor, weights: Tensor) -> None:
    """Refuse codes of another length than the decoder's, or outside of the box.

    Raises
    ------
    InputError
    """
    if codes.ndim != 2 or weights.ndim != 2 or codes.shape[1] != weights.shape[1]:
        raise InputError(
            f"codes must have shape (n, {weights.shape[-1]}), the length that the decoder was learned with; "
            f"found {tuple(codes.shape)}"
        )
    if codes.numel() and not float(codes.detach().abs().max()) <= 1.0 + 1e-6:
        raise InputError("codes must lie between -1 and 1; found a number outside, or NaN")


def _check_rows(bits: Tensor, codes: Tensor) -> None:
    if bits.ndim != 2 or len(bits) != len(codes):
        raise InputError(
            f"bits (n, v) and codes (n, h) must have equally many rows; found {tuple(bits.shape)} and "
            f"{tuple(codes.shape)}"
        )
