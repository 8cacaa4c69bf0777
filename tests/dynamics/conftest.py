"""Force fields in closed form, to check the dynamics against."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from torch import Tensor

from lattgnn.dynamics import philox, update
from lattgnn.dynamics.langevin_kernels import kernels
from lattgnn.lattice import Lattice, chain


@dataclass(frozen=True)
class Polynomial:
    """E = Σ k Q²/2 + quartic Q⁴/4, each site for itself; k = quartic = 0 is a free particle."""

    lattice: Lattice
    stiffness: float = 1.0
    quartic: float = 0.0

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (self.lattice.n_sites,)

    def __call__(self, field: Tensor) -> tuple[Tensor, Tensor]:
        square = field * field
        energy = (0.5 * self.stiffness * square + 0.25 * self.quartic * square * square).sum(-1)
        return energy, -field * (self.stiffness + self.quartic * square)


@dataclass(frozen=True)
class Springs:
    """E = ½ k Σ Q² + κ Σ Q_i Q_{i+1} on a ring: normal modes ω²(q) m = k + 2 κ cos q."""

    lattice: Lattice
    stiffness: float = 1.0
    coupling: float = 0.18

    @property
    def field_shape(self) -> tuple[int, ...]:
        return (self.lattice.n_sites,)

    def __call__(self, field: Tensor) -> tuple[Tensor, Tensor]:
        forces = -self.stiffness * field
        forces = forces - self.coupling * (field.roll(1, -1) + field.roll(-1, -1))
        return -0.5 * (field * forces).sum(-1), forces


@pytest.fixture(params=["compiled", "torch"])
def implementation(request, monkeypatch) -> str:
    """The kernels of a CPU and their twins in PyTorch, one after the other."""
    if request.param == "torch":
        monkeypatch.setattr(philox, "kernels", lambda: None)
        monkeypatch.setattr(update, "kernels", lambda: None)
    elif kernels() is None:
        pytest.skip("no compiler here")
    return request.param


@pytest.fixture
def harmonic() -> Callable[..., Polynomial]:
    """Makes `Polynomial` on a chain: (n_sites, stiffness, quartic)."""
    return lambda n_sites=8, stiffness=1.0, quartic=0.0: Polynomial(
        chain(n_sites), stiffness, quartic
    )


@pytest.fixture
def springs() -> Springs:
    return Springs(chain(1024))
