"""A loss and a sampler of likewise in a training loop of your own, judged on items that it never saw.

Five classes are too few to speak of new classes: `likewise demo` shows what it takes.

Run: python examples/plain_loop.py
"""

import torch
from torch import nn

from likewise import evaluation
from likewise.data import ClassBalancedSampler, load, split_items
from likewise.losses import ProxyAnchor


def main() -> None:
    torch.manual_seed(0)
    parts = split_items(load("digits"), fraction=0.3, seed=0)
    seen, unseen = parts.seen, parts.unseen
    images, labels = torch.from_numpy(seen.X), torch.from_numpy(seen.y)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32))
    loss = ProxyAnchor(n_classes=10, dimension=32)
    optimizer = torch.optim.AdamW(
        [
            {"params": net.parameters(), "lr": 1e-3},
            {"params": loss.parameters(), "lr": 1e-1},
        ]  # proxies: faster
    )
    for rows in ClassBalancedSampler(seen.y, classes_per_batch=10, items_per_class=12, batches=200, seed=0):
        optimizer.zero_grad()
        loss(net(images[rows]), labels[rows]).backward()
        optimizer.step()

    with torch.no_grad():
        learned = evaluation.retrieval(net(torch.from_numpy(unseen.X)), unseen.y, distance="cosine")
    raw = evaluation.retrieval(unseen.X.reshape(len(unseen), -1), unseen.y)
    for name in ("recall@1", "map@r"):
        print(f"{name:9} learned {learned[name].value:.3f}   raw pixels {raw[name].value:.3f}")


if __name__ == "__main__":
    main()
