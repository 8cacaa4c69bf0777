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
# # Spins
#
# Double exchange: electrons among classical spins of unit length,
#
# $$H = -t\sum_{\langle ij\rangle\sigma} (c^\dagger_{i\sigma} c_{j\sigma} + \mathrm{h.c.}) - J\sum_i
# S_i\cdot c^\dagger_i \sigma c_i .$$
#
# The spins feel the effective field $B_i = -\partial E/\partial S_i$ and move by the stochastic
# Landau–Lifshitz–Gilbert (LLG) equation. A network learns the energy; its gradient is the effective
# field.

# %% tags=["parameters"]
import os
import tempfile
from pathlib import Path

# Toy sizes for the test that every cell runs; the figures below need the others.
FAST = os.environ.get("LATTGNN_NOTEBOOK_FAST", "0") == "1"
SIZE, N_QUENCHES, N_STEPS, N_RANDOM, EPOCHS = (4, 1, 12, 8, 2) if FAST else (6, 2, 100, 100, 20)
COMPARED_SIZE, COMPARED_STEPS, LARGE = (4, 10, 6) if FAST else (7, 60, 20)
folder = Path(os.environ.get("LATTGNN_NOTEBOOK_DIR", tempfile.gettempdir())) / "lattgnn-notebook"

# %%
import warnings
from functools import partial

import lightning
import numpy as np
import torch
from IPython.display import Image, display

from lattgnn.data import LatticeDataModule, RandomSpins, SpinQuench
from lattgnn.dynamics import HeunLLG, LogSpaced, initial_spins, simulate
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import DoubleExchange
from lattgnn.lattice import square
from lattgnn.nn import HiddenChannels, OrbitNetwork
from lattgnn.report import dynamics_comparison, parity_plot
from lattgnn.report.style import figure_png
from lattgnn.solvers import ExactDiagonalization
from lattgnn.training import LitForceField

warnings.filterwarnings("ignore", message=".*does not have many workers")
torch.set_num_threads(1)  # small networks gain nothing from more


def show(figure, width=450):
    """Show a figure of `lattgnn.report`, made for print, at a readable size."""
    display(Image(figure_png(figure), width=width))


# %% [markdown]
# ## Exact effective fields
#
# A rotation of all spins is a symmetry, apart from the space group: the energy stays, the fields
# rotate along.

# %%
lattice = square(SIZE)
model = DoubleExchange(lattice, t=1.0, J=3.5)
solver = ExactDiagonalization(kT=0.1, mu=-3.5)
exact = ExactForceField(model, solver)
spins = initial_spins(exact, seed=0).field
rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
energy, fields = exact(spins)
rotated_energy, rotated_fields = exact(spins @ rotation)
print("energy changes by", float((rotated_energy - energy).abs().max()))
print("fields differ by ", float((rotated_fields - fields @ rotation).abs().max()))

# %% [markdown]
# ## Data and fit
#
# Quenches from infinite temperature, and random spins. `field_type` of the model tells the network
# that the field is a spin.

# %%
quench = partial(SpinQuench, n_steps=N_STEPS, integrator=HeunLLG(dt=0.1, kT=0.01, alpha=0.1))
sources = [
    quench("train", n_trajectories=N_QUENCHES, n_frames=N_STEPS // 4),
    RandomSpins("train", n_samples=N_RANDOM),
    quench("val", n_trajectories=1, n_frames=N_STEPS // 4),
    quench("test", n_trajectories=1, n_frames=N_STEPS // 4),
]
make_model = partial(DoubleExchange, t=1.0, J=3.5)
data = LatticeDataModule(
    lattice, make_model, solver, sources, root=folder, name="spins", n_workers=0, progress=False
)
data.prepare_data()
data.setup()

# %%
lightning.seed_everything(0, verbose=False)
hidden = HiddenChannels(channels=12, spin_channels=6, nonlinearity="square")
net = partial(OrbitNetwork, cutoff=1.5, n_layers=2, hidden=hidden, conservative=True)
lit = LitForceField(net, model, solver, energy_weight=1.0, tangent_weight=1.0)
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
batches = trainer.predict(lit, data)
learned_fields = torch.cat([batch["forces"] for batch in batches]).numpy()
exact_fields = torch.cat([batch["exact_forces"] for batch in batches]).numpy()
show(parity_plot(exact_fields, learned_fields))

# %% [markdown]
# ## Learned against exact dynamics
#
# The alignment of neighboring spins, ⟨S_i·S_j⟩, on a larger lattice and with the same noise.

# %%
larger = square(COMPARED_SIZE)
integrator = HeunLLG(dt=0.1, kT=0.01, alpha=0.1)


def relax(force_field):
    """Random spins relax."""
    state = initial_spins(force_field, seed=1, n_replicas=2)
    return simulate(force_field, integrator, state, COMPARED_STEPS, LogSpaced(30))


def alignment(run):
    """Mean of S_i·S_j over nearest neighbors [frame, replica]."""
    bonds, spins = run.lattice.bonds(1.0), run.fields[:]
    products = spins[:, :, bonds.source] * spins[:, :, bonds.destination]
    return products.sum(axis=-1).mean(axis=-1)


runs = {
    "exact": relax(ExactForceField(make_model(larger), solver)),
    "learned": relax(LearnedForceField(lit.net, make_model(larger), solver)),
}
aligned = {name: alignment(run) for name, run in runs.items()}
show(dynamics_comparison(runs["exact"].times, aligned["exact"], aligned["learned"]))

# %% [markdown]
# ## A larger lattice
#
# Spins keep their length: every step is a rotation.

# %%
run = relax(LearnedForceField(lit.net, make_model(square(LARGE)), solver))
lengths = np.linalg.norm(run.fields[-1], axis=-1)
print(f"{run.lattice.n_sites} spins, |S| - 1 at most {abs(lengths - 1).max():.0e}")
print(
    "alignment of neighbors, first and last frame:", alignment(run).mean(axis=1)[[0, -1]].round(3)
)
