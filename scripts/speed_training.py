"""Speed of training, compared with the same network of PyG layers; run by benchmark_speed.py."""

from functools import partial
from typing import Any

import torch
from pytorch_optimizer import SOAP
from relational_network import RelationalNetwork, compare
from speed_report import MAIN
from speed_timing import START, Plan, lasting, race, random_network, threads
from torch import Tensor, nn

from lattgnn.lattice import square


def training(plan: Plan) -> dict[str, Any]:
    """Time per sample of the network of configs/fit/holstein_square_small.yaml, in two forms.

    One form is ours, with OrbitConv; the other has RGCNConv of PyG in its place and the same
    weights.
    """
    lattice, batch, (n_samples, n_batches) = square(20), 8, plan.training
    net = random_network(lattice, MAIN, "direct")
    rival = RelationalNetwork(net, lattice, batch)
    graph = net.graph(lattice)
    fields = START["field_std"] * torch.randn(n_batches, batch, lattice.n_sites)
    targets = torch.tanh(fields)
    deviations = compare(net, rival, fields[0], targets[0])
    if max(deviations) > 1e-5:
        raise SystemExit(
            f"forces and gradients of the two networks must agree, but differ by {deviations}."
        )
    runs = {}
    with threads(1):
        forwards = {
            "OrbitConv": (net, lambda field: net(field, graph)[1]),
            "RGCNConv": (rival, rival),
        }
        for name, (module, forward) in forwards.items():
            optimizer = SOAP(module.parameters(), lr=6e-3, weight_decay=1e-4)
            for kind in ("gradient", "with SOAP"):
                take = optimizer.step if kind == "with SOAP" else lambda: None
                epoch = partial(train, forward, optimizer.zero_grad, take, fields, targets)
                runs[f"{name}, {kind}"] = lasting(epoch, n_batches * batch, plan)
        times = race(runs, plan.repeats)
    return {
        "us_per_sample": times,
        "n_samples": n_samples,
        "batch": batch,
        "deviations": deviations,
    }


def train(
    forward: Any, zero: Any, take: Any, fields: Tensor, targets: Tensor, n_rounds: int
) -> None:
    """Train on all batches, `n_rounds` times."""
    for _ in range(n_rounds):
        for field, target in zip(fields, targets, strict=True):
            zero()
            nn.functional.mse_loss(forward(field), target).backward()
            take()
