"""NCA, NT-Xent, N-pairs, and the hinge rank: each row's near columns against its far ones."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise import losses
from reference.losses import Reference, Terms, cosine, dot, hinge, squared


def neighbourhood(near: list[Tensor], far: list[Tensor], logarithm: bool, temperature: float) -> Terms:
    if not near:
        return
    alike = sum(torch.exp(-d / temperature) for d in near)
    unlike = sum((torch.exp(-d / temperature) for d in far), alike * 0)
    yield "joint", torch.log1p(unlike / alike) if logarithm else unlike / (alike + unlike)


def nt_xent(near: list[Tensor], far: list[Tensor], temperature: float) -> Terms:
    for p in near:
        yield "joint", torch.log1p(sum((torch.exp((p - n) / temperature) for n in far), p * 0))


def n_pairs(near: list[Tensor], far: list[Tensor], one_vs_one: bool = False) -> Terms:
    for p in near:
        gaps = [p - n for n in far]
        if one_vs_one:
            yield "joint", sum((torch.logaddexp(gap * 0, gap) for gap in gaps), p * 0)
        else:
            yield "joint", torch.logsumexp(torch.stack([p * 0, *gaps]), 0)


def hinge_rank(near: list[Tensor], far: list[Tensor], margin: float) -> Terms:
    if near and far:
        yield "joint", sum(hinge(margin + p - n) for p in near for n in far)


REFERENCES: dict[str, list[Reference]] = {
    "NCA": [
        Reference(losses.NCA, neighbourhood, {"logarithm": False, "temperature": 1.0}, squared),
        Reference(losses.NCA, neighbourhood, {"logarithm": True, "temperature": 0.7}, squared),
    ],
    "NTXent": [
        Reference(losses.NTXent, nt_xent, {"temperature": 0.4}, cosine),
    ],
    "NPairs": [
        Reference(losses.NPairs, n_pairs, {}, dot),
        Reference(losses.NPairs, n_pairs, {"one_vs_one": True}, dot),
    ],
    "HingeRank": [
        Reference(losses.HingeRank, hinge_rank, {"margin": 0.1}, dot),
    ],
}
