"""An exact global batch over several processes: DDP needs nothing else.

A loss sees the rows of every process, and the gradient of its own rows is scaled so that DDP's average is
that of one process with the whole batch.

Run: torchrun --nproc-per-node 2 examples/two_processes.py
"""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from likewise.data import ClassBalancedSampler, load
from likewise.losses import SupCon


def main() -> None:
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    digits = load("digits:classes=0-4")
    images, labels = torch.from_numpy(digits.X), torch.from_numpy(digits.y)
    net = DistributedDataParallel(nn.Sequential(nn.Flatten(), nn.Linear(64, 32)))
    loss = SupCon(temperature=0.1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    sampler = ClassBalancedSampler(
        digits.y, classes_per_batch=5, items_per_class=12, batches=20, seed=0, rank=rank, world_size=world
    )
    for rows in sampler:  # each process draws its part of the same global batch
        optimizer.zero_grad()
        value = loss(net(images[rows]), labels[rows])  # the same number in every process
        value.backward()
        optimizer.step()
    print(f"process {rank}: loss {value:.6f}")
    del net, value  # before the group: DDP would give it up while holding the interpreter, and may then hang
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
