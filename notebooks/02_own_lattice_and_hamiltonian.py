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
# # Your own lattice and Hamiltonian
#
# This notebook takes the lattice and the model of `docs/examples/my_physics.py` from exact forces
# to a learned simulation: the 1/5-depleted square lattice, and a Holstein model with next-nearest
# hopping,
#
# $$H = -t\sum_{\langle ij\rangle} (c^\dagger_i c_j + \mathrm{h.c.}) - t_2 \sum_{\langle\langle
# ij\rangle\rangle} (c^\dagger_i c_j + \mathrm{h.c.}) - g \sum_i (n_i - \tfrac12) Q_i, \qquad
# E_\mathrm{cl} = \tfrac12 k \sum_i Q_i^2 .$$
#
# The documentation explains the file line by line ("Your own Hamiltonian").

# %% tags=["parameters"]
import os
import tempfile
from pathlib import Path

# Toy sizes for the test that every cell runs; the figures below need the others.
FAST = os.environ.get("LATTGNN_NOTEBOOK_FAST", "0") == "1"
SIZE, N_QUENCHES, N_STEPS, EPOCHS = (3, 2, 30, 2) if FAST else (5, 6, 150, 20)
COMPARED_SIZE, COMPARED_STEPS, LARGE = (3, 20, 6) if FAST else (7, 200, 40)
folder = Path(os.environ.get("LATTGNN_NOTEBOOK_DIR", tempfile.gettempdir())) / "lattgnn-notebook"

# %%
import sys
import warnings
from functools import partial

import lightning
import torch
from IPython.display import Image, display

import lattgnn

sys.path.insert(0, str(Path(lattgnn.__file__).parents[1] / "docs" / "examples"))
from my_physics import NextNearestHolstein, depleted_square

from lattgnn.analysis import nearest_neighbor_correlation
from lattgnn.data import LatticeDataModule, Quench, RandomFields
from lattgnn.dynamics import LogSpaced, VerletLangevin, initial_state, simulate
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.nn import HiddenChannels, OrbitNetwork
from lattgnn.report import dynamics_comparison, parity_plot
from lattgnn.report.lattice_plot import plot_lattice
from lattgnn.report.style import figure_png
from lattgnn.solvers import ExactDiagonalization
from lattgnn.symmetry import symmetry_table
from lattgnn.training import LitForceField

warnings.filterwarnings("ignore", message=".*does not have many workers")
torch.set_num_threads(1)  # small networks gain nothing from more


def show(figure, width=450):
    """Show a figure of `lattgnn.report`, made for print, at a readable size."""
    display(Image(figure_png(figure), width=width))


# %% [markdown]
# ## The lattice
#
# Four sites per cell, and three orbits of bonds at distance 1: two run around a plaquette,
# clockwise and counterclockwise, and one connects two plaquettes. Distances alone would not tell
# them apart.

# %%
lattice = depleted_square([SIZE, SIZE])
print(symmetry_table(lattice, cutoff=1.5))
show(plot_lattice(lattice, cutoff=1.5), width=700)

# %% [markdown]
# ## The model
#
# Check a new model before anything is computed with it: the matrix is Hermitian, and the force is
# the derivative of the energy.

# %%
model = NextNearestHolstein(lattice, t2=0.2, g=2.0)
solver = ExactDiagonalization(kT=0.1, mu=0.0)
exact = ExactForceField(model, solver)

field = torch.randn(
    lattice.n_sites, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
)
matrix = model.matrix(field)
assert torch.equal(matrix, matrix.mH)

energy, forces = exact(field)
step = torch.zeros_like(field)
step[0] = 1e-5
difference = -(exact(field + step)[0] - exact(field - step)[0]) / 2e-5
print(f"force {forces[0]:.8f}, difference of energies {difference:.8f}")

# %% [markdown]
# ## Data and fit
#
# Quenches from random fields, and random fields of two strengths. The integrator is an argument of
# the quench.

# %%
integrator = VerletLangevin(dt=0.1, kT=0.05, gamma=0.2, mass=1.0)
quench = partial(Quench, n_steps=N_STEPS, integrator=integrator, field_variance=1.0)
sources = [
    quench("train", n_trajectories=N_QUENCHES, n_frames=N_STEPS // 3),
    RandomFields("train", n_samples=20 if FAST else 300, variances=(0.1, 1.0)),
    quench("val", n_trajectories=1, n_frames=N_STEPS // 4),
    quench("test", n_trajectories=1, n_frames=N_STEPS // 4),
]
make_model = partial(NextNearestHolstein, t2=0.2, g=2.0)
data = LatticeDataModule(
    lattice, make_model, solver, sources, root=folder, name="depleted", n_workers=0, progress=False
)
data.prepare_data()
data.setup()

# %%
lightning.seed_everything(0, verbose=False)
net = partial(OrbitNetwork, cutoff=1.5, n_layers=3, hidden=HiddenChannels(channels=12))
lit = LitForceField(net, model, solver)
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
learned_forces = torch.cat([batch["forces"] for batch in batches]).numpy()
exact_forces = torch.cat([batch["exact_forces"] for batch in batches]).numpy()
show(parity_plot(exact_forces, learned_forces))

# %% [markdown]
# ## Learned against exact dynamics
#
# Both runs see the same noise, so their difference comes from the network alone.

# %%
larger = depleted_square([COMPARED_SIZE, COMPARED_SIZE])
larger_model = make_model(larger)


def quench_with(force_field, n_steps):
    """A quench from a random field."""
    state = initial_state(force_field, seed=1, n_replicas=2, field_std=1.0, momentum_std=0.2)
    return simulate(force_field, integrator, state, n_steps, LogSpaced(30))


runs = {
    "exact": quench_with(ExactForceField(larger_model, solver), COMPARED_STEPS),
    "learned": quench_with(LearnedForceField(lit.net, larger_model, solver), COMPARED_STEPS),
}
c1 = {name: nearest_neighbor_correlation(run.fields[:], larger) for name, run in runs.items()}
show(dynamics_comparison(runs["exact"].times, c1["exact"], c1["learned"]))

# %% [markdown]
# ## A lattice that the exact solver cannot handle
#
# The same network on a larger extent of the same crystal. The cost is linear in the number of
# sites.

# %%
large = depleted_square([LARGE, LARGE])
run = quench_with(LearnedForceField(lit.net, make_model(large), solver), COMPARED_STEPS)
staggered = run.fields[-1] * large.bipartite_signs
print(f"{large.n_sites} sites, mean of |Q| {abs(run.fields[-1]).mean():.2f}")
print(f"staggered order of the two replicas: {staggered.mean(axis=-1).round(3)}")
