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
# # Analysis of a quench
#
# A quench of the Holstein model with a force field that ships with the package, and its analysis
# step by step: local order, structure factor, correlations, domain length and growth. `lattgnn
# analyze` does the same and writes a report.

# %% tags=["parameters"]
import os
import tempfile
from pathlib import Path

# Toy sizes for the test that every cell runs; the figures below need the others.
FAST = os.environ.get("LATTGNN_NOTEBOOK_FAST", "0") == "1"
SIZE, STEPS, REPLICAS, FRAMES = (16, 60, 2, 12) if FAST else (128, 2000, 2, 40)
folder = Path(os.environ.get("LATTGNN_NOTEBOOK_DIR", tempfile.gettempdir())) / "lattgnn-notebook"

# %%
from IPython.display import Image, display
from matplotlib.figure import Figure

from lattgnn.analysis import (
    domain_length,
    local_order,
    radial_correlation,
    staggered_field,
    structure_factor,
    wavevectors,
)
from lattgnn.dynamics import LogSpaced, Trajectory, VerletLangevin, initial_state, simulate
from lattgnn.forcefield import LearnedForceField
from lattgnn.lattice import square
from lattgnn.report import analysis_figures, analyze_trajectory, quench_metrics
from lattgnn.report.style import figure_png


def show(figure, width=450):
    """Show a figure of `lattgnn.report`, made for print, at a readable size."""
    display(Image(figure_png(figure), width=width))


# %% [markdown]
# ## The run
#
# The path of the run includes its size. Running this cell again opens the finished run at once.

# %%
force_field = LearnedForceField.pretrained("holstein-square-small", square(SIZE))
state = initial_state(
    force_field, seed=0, n_replicas=REPLICAS, field_std=(5 / 0.18) ** 0.5, momentum_std=5.0
)
integrator = VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=5.0)
path = folder / f"quench-{SIZE}-{STEPS}"
simulate(force_field, integrator, state, STEPS, LogSpaced(FRAMES), path)
run = Trajectory.open(path)
print("frames, replicas, sites:", run.fields.shape, "up to t =", run.times[-1])

# %% [markdown]
# ## The same data in xarray
#
# Dimensions have names, and sites carry their positions.

# %%
run.to_xarray()

# %% [markdown]
# ## Local order
#
# The checkerboard alternates in sign from site to site. The staggered field multiplies it by ±1, so
# a domain has one sign; `local_order` compares each site with its neighbors.

# %%
order = local_order(run.fields[-1, 0], run.lattice).reshape(SIZE, SIZE)
figure = Figure(figsize=(4, 4), layout="constrained")
axes = figure.add_subplot()
axes.imshow(order.T, origin="lower", cmap="RdBu", vmin=-abs(order).max(), vmax=abs(order).max())
axes.set(xlabel="x", ylabel="y", title=f"local order at t = {run.times[-1]:g}")
show(figure)

# %% [markdown]
# ## Structure factor and correlations
#
# S(q) peaks at (π, π); the width of the peak is the inverse size of the domains. C(r) of the
# staggered field decays over the same length, and `domain_length` is the distance at which it has
# fallen to one half.

# %%
s = structure_factor(run.fields[-1], run.lattice).mean(axis=0)
peak = s.argmax()
print("S(q) is largest at q =", wavevectors(run.lattice).reshape(-1, 2)[peak].round(3))

distances, correlation = radial_correlation(
    staggered_field(run.fields[-1], run.lattice), run.lattice
)
print("domain length of each replica:", domain_length(distances, correlation).round(2))

# %% [markdown]
# ## All of it at once
#
# `analyze_trajectory` gathers these observables for every frame, and fits the growth of the
# domains.

# %%
result = analyze_trajectory(run)
figures = analysis_figures(run, result)
show(figures["snapshots"], width=850)

# %%
if "domain_length" in figures:  # only where the run has an order
    show(figures["domain_length"])
show(figures["structure_factor"], width=850)
quench_metrics(run, result)
