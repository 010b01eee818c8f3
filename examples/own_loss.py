"""A loss of your own in five lines, checked against the exact one of the library.

``RowFunction`` takes whole rows of distances, and autograd gives the gradient. What a loss costs then is one
table of a block of rows; a loss of the library walks tiles instead.

Run: python examples/own_loss.py
"""

import torch

from likewise.losses import RowFunction, TripletMargin
from likewise.relations import Labels


def all_triplets(distances, near, far):  # each (rows, columns)
    """``sum_p sum_n max(0, d_p - d_n + 0.2)``: rows x columns x columns numbers, so for small batches."""
    hinges = torch.relu(distances[:, :, None] - distances[:, None, :] + 0.2)  # (rows, positives, negatives)
    return (hinges * near[:, :, None] * far[:, None, :]).sum((1, 2))


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(60, 16, generator=generator, dtype=torch.float64, requires_grad=True)
    relation = Labels(torch.arange(60) % 10)
    for loss in (
        RowFunction(all_triplets, reduction="sum"),
        TripletMargin(margin=0.2, reduction="sum"),
    ):
        value = loss(embeddings, relation)
        (gradient,) = torch.autograd.grad(value, embeddings)
        print(f"{type(loss).__name__:14} value {value:.9f}   length of the gradient {gradient.norm():.9f}")


if __name__ == "__main__":
    main()
