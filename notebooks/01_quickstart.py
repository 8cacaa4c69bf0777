# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From exact diagonalization to a coarsening quench
#
# The workflow of `lattgnn quickstart`, in Python: exact forces on a small lattice, an equivariant
# graph network that learns them, learned against exact dynamics with the same noise, and a quench
# of a lattice that is out of reach of the exact solver.
#
# The model is Holstein's on the square lattice (arXiv 2601.04104), with one displacement $Q_i$ per
# site,
#
# $$H = -t\sum_{\langle ij\rangle} (c^\dagger_i c_j + \mathrm{h.c.}) - g \sum_i (n_i - \tfrac12)
# Q_i, \qquad E_\mathrm{cl} = \tfrac12 k_0 \sum_i Q_i^2 + k_1 \sum_{\langle ij\rangle} Q_i Q_j ,$$
#
# and the force on a displacement is $F_i = g(\langle n_i\rangle - \tfrac12) - k_0 Q_i - k_1
# \sum_{j\in nn(i)} Q_j$. Only the first term has to be learned. It costs $O(N^3)$ by
# diagonalization and $O(N)$ by the network.

# %% tags=["parameters"]
import os
import tempfile
from functools import partial
from pathlib import Path

# Toy sizes for a test that every cell runs; the figures below need the others.
FAST = os.environ.get("LATTGNN_NOTEBOOK_FAST", "0") == "1"
SIZE, N_QUENCHES, N_RANDOM, EPOCHS = (6, 2, 8, 3) if FAST else (12, 12, 400, 25)
COMPARED_SIZE, COMPARED_STEPS = (8, 40) if FAST else (16, 600)
LARGE, LARGE_STEPS, REPLICAS = (16, 60, 2) if FAST else (128, 1000, 3)
folder = Path(os.environ.get("LATTGNN_NOTEBOOK_DIR", tempfile.gettempdir())) / "lattgnn-notebook"

# %%
import warnings

import lightning
import torch
from IPython.display import Image, display

from lattgnn.analysis import nearest_neighbor_correlation, relative_deviation
from lattgnn.data import LatticeDataModule, Quench, RandomFields
from lattgnn.dynamics import LogSpaced, VerletLangevin, initial_state, simulate
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.graph import lattice_graph
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.nn import HiddenChannels, OrbitNetwork
from lattgnn.report import (
    analysis_figures,
    analyze_trajectory,
    dynamics_comparison,
    parity_plot,
    quench_metrics,
)
from lattgnn.report.style import figure_png
from lattgnn.solvers import ExactDiagonalization
from lattgnn.symmetry import symmetry_table
from lattgnn.training import LitForceField

warnings.filterwarnings("ignore", message=".*does not have many workers")
torch.set_num_threads(1)  # networks this small gain nothing from more


def show(figure, width=450):
    """Show a picture of `lattgnn.report`, made for print, at a readable size."""
    display(Image(figure_png(figure), width=width))


# %% [markdown]
# ## Lattice, graph, symmetry
#
# Directed bonds that an operation of the space group maps onto each other form an *orbit*, and
# share the weights of the network. That makes it equivariant, exactly and on every extent.

# %%
lattice = square(SIZE)
print(symmetry_table(lattice, cutoff=1.5))
lattice_graph(lattice, cutoff=1.5)

# %% [markdown]
# ## Exact forces
#
# Any Hamiltonian and any solver make a force field: a function from a field to energy and forces.

# %%
model = Holstein(lattice, t=1.0, g=3.5, k0=1.0, k1=0.18)
solver = ExactDiagonalization(kT=0.1, mu=0.0)
exact = ExactForceField(model, solver)
field = 5.27 * torch.randn(
    lattice.n_sites, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
)
energy, forces = exact(field)
print(f"energy {energy:.4f}, largest force {forces.abs().max():.2f}")

# %% [markdown]
# ## Data: exact quenches
#
# Trajectories of exact dynamics make the labels. Most of them are short, for the beginning of a
# quench is the hard part. Each source belongs to one split as a whole: snapshots of one trajectory
# are alike, and must not end on both sides.

# %%
steps = 60 if FAST else 400
sources = [
    Quench("train", n_trajectories=N_QUENCHES, n_steps=steps, n_frames=steps // 6),
    Quench("train", n_trajectories=max(1, N_QUENCHES // 3), n_steps=3 * steps, n_frames=steps // 4),
    RandomFields("train", n_samples=N_RANDOM),
    Quench("val", n_trajectories=1, n_steps=2 * steps, n_frames=steps // 4),
    Quench("test", n_trajectories=1, n_steps=2 * steps, n_frames=steps // 4),
]
data = LatticeDataModule(
    lattice,
    partial(Holstein, t=1.0, g=3.5, k0=1.0, k1=0.18),
    solver,
    sources,
    root=folder,
    n_workers=0 if FAST else None,
    progress=False,
)
data.prepare_data()  # in parallel; what is there is not made again
data.setup()
data.train_statistics

# %% [markdown]
# ## Fit
#
# The network is an argument of the Lightning module. It predicts the electronic force alone: the
# elastic part is exact. `lattgnn fit` does the same with checkpoints, logs and resumption.

# %%
lightning.seed_everything(0, verbose=False)
lit = LitForceField(
    partial(OrbitNetwork, cutoff=1.5, n_layers=4, hidden=HiddenChannels(channels=12)),
    model,
    solver,
    particle_hole=True,
)
trainer = lightning.Trainer(
    max_epochs=EPOCHS,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    num_sanity_val_steps=0,
    limit_val_batches=0,
    inference_mode=False,
)
trainer.fit(lit, data)
print(sum(p.numel() for p in lit.parameters()), "parameters")

# %%
batches = trainer.predict(lit, data)
learned_forces = torch.cat([batch["forces"] for batch in batches]).numpy()
exact_forces = torch.cat([batch["exact_forces"] for batch in batches]).numpy()
show(parity_plot(exact_forces, learned_forces))

# %% [markdown]
# ## Learned against exact dynamics
#
# The noise is a function of seed, replica and step. So the exact and the learned run have the same,
# and their difference is the network's alone. The lattice is larger than that of the training.

# %%
larger = square(COMPARED_SIZE)
larger_model = Holstein(larger, t=1.0, g=3.5, k0=1.0, k1=0.18)
integrator = VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=5.0)
start = {"field_std": (5 / 0.18) ** 0.5, "momentum_std": 5.0}


def quench(force_field, n_steps, n_replicas, seed):
    """A quench: a random field relaxes at kT = 0.1."""
    state = initial_state(force_field, seed=seed, n_replicas=n_replicas, **start)
    return simulate(force_field, integrator, state, n_steps, LogSpaced(50))


runs = {
    "exact": quench(ExactForceField(larger_model, solver), COMPARED_STEPS, 3, seed=1),
    "learned": quench(LearnedForceField(lit.net, larger_model, solver), COMPARED_STEPS, 3, seed=1),
}
c1 = {name: nearest_neighbor_correlation(run.fields[:], larger) for name, run in runs.items()}
deviation = relative_deviation(c1["learned"], c1["exact"])[-1]
print(f"deviation of C(1) at the end: {100 * deviation:.2f} %")
show(dynamics_comparison(runs["exact"].times, c1["exact"], c1["learned"]))

# %% [markdown]
# ## A large quench
#
# Same network, another lattice: its cost is linear in the number of sites. Checkerboard domains of
# both signs form and coarsen.

# %%
large = square(LARGE)
force_field = LearnedForceField(lit.net, Holstein(large, t=1.0, g=3.5, k0=1.0, k1=0.18), solver)
run = quench(force_field, LARGE_STEPS, REPLICAS, seed=2)
result = analyze_trajectory(run)
figures = analysis_figures(run, result)
show(figures["snapshots"], width=850)

# %%
if "domain_length" in figures:  # only where the run has an order
    show(figures["domain_length"])
show(figures["structure_factor"], width=850)
quench_metrics(run, result)

# %% [markdown]
# The domain length grows as a power of time; the growth exponent stands in the table with an
# interval from a bootstrap over the replicas. For a publication use more replicas,
# longer runs, and a network fitted to the standard benchmark (`configs/fit/holstein_square.yaml`).
