"""From a field to energy and forces: the one interface that dynamics sees."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from scipy.optimize import brentq
from torch import Tensor

from lattgnn.backends import Engine
from lattgnn.checkpoint import check_field_type, checkpoint_header, load_checkpoint, read_header
from lattgnn.errors import InputError
from lattgnn.files import atomic_file
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork
from lattgnn.serialize import build
from lattgnn.solvers import Solver


class ExactForceField:
    r"""Energy and forces from the electronic structure, by one formula for every model and solver.

    With the density matrix ρ held fixed (Hellmann–Feynman),

        F = −Re Tr[ρ ∂H/∂φ] − ∂(E_background + E_classical)/∂φ,

    where autograd differentiates the matrix elements only, never the diagonalization.

    Args:
        hamiltonian: the model on its lattice.
        solver: how its electrons are found, and in which ensemble.

    Reference:
        Y. Fan and G.-W. Chern, arXiv:2601.04104, eqs. (4)–(6), for the Holstein model.
    """

    def __init__(self, hamiltonian: Hamiltonian, solver: Solver) -> None:
        self.hamiltonian = hamiltonian
        self.solver = solver

    @property
    def lattice(self) -> Lattice:
        """The sites."""
        return self.hamiltonian.lattice

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one field, without batch dimensions."""
        return self.hamiltonian.field_shape

    def __call__(
        self, field: Float[Tensor, "..."]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "..."]]:
        """Total energy and forces −∂E/∂field.

        Args:
            field: [..., *field_shape], on the device that shall do the work.

        Returns:
            Energy [...] and forces like the field, in its dtype (the work is done in float64). The energy is
            the grand potential where the solver fixes μ and the free energy where it fixes the filling.

        Raises:
            ValueError: the field is not finite, or not one of this lattice.
        """
        energy, forces = self._electronic(field)
        exact = field.detach().to(torch.float64)
        energy = energy + self.hamiltonian.classical_energy(exact)
        forces = forces + self.hamiltonian.classical_forces(exact)
        return energy.to(field.dtype), forces.to(field.dtype)

    def electronic(
        self, field: Float[Tensor, "..."]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "..."]]:
        """Energy and forces without the classical part: what a network learns. Arguments as for a call."""
        energy, forces = self._electronic(field)
        return energy.to(field.dtype), forces.to(field.dtype)

    def _electronic(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """The same in float64."""
        state = self.solver.solve(self.hamiltonian, field.detach())
        with torch.enable_grad():
            leaf = field.detach().to(torch.float64, copy=True).requires_grad_()
            background = self.hamiltonian.background_energy(leaf)
            trace = (state.density_elements * self.hamiltonian.elements(leaf)).real.sum(-1)
            (gradient,) = torch.autograd.grad((trace + background).sum(), leaf)
        return state.energy + background.detach(), -gradient


class LearnedForceField:
    r"""A trained network in place of the electrons, the classical part exact.

    With `filling` the chemical potential is a global number that no local network can know. It need not: for
    a field that couples to the local density, changing μ is a uniform shift of the field, so that

        F_canonical(Q) = F_{μ=0}(Q + μ/g),

    and μ follows from Σ_i n_i(Q + μ/g) = filling · n_sites, with the densities that the network predicts.

    Args:
        net: trained network; `net(field, graph)` gives electronic energy (or None) and forces.
        hamiltonian: the model on the lattice to be simulated.
        solver: how the labels were computed, with their μ.
        filling: electrons per state; None keeps the chemical potential that the labels were made with.
        fast: run the network by compiled code where there is some (`lattgnn.backends`), checked against the
            network at the first call; False runs the network's own code.

    Raises:
        ValueError: `filling` is given for a Hamiltonian in which μ is no shift of the field, or the network
            was made for a field that transforms otherwise.
    """

    writes_in_place = True

    def __init__(
        self,
        net: ForceNetwork,
        hamiltonian: Hamiltonian,
        solver: Solver,
        filling: float | None = None,
        fast: bool = True,
    ) -> None:
        if filling is not None and not 0 < filling < 1:
            raise InputError(
                f"filling must be above 0 and below 1, got {filling!r}. Use electrons per state."
            )
        if filling is not None:
            hamiltonian.field_type.field_shift(0.0)  # raises where the model has none
            if solver.mu is None:
                raise InputError(
                    f"filling needs a network trained at fixed mu, got labels of {solver}. Train with mu=0.0."
                )
        check_field_type(net, hamiltonian)
        self.net = net.eval()
        self.hamiltonian = hamiltonian
        self.solver = solver
        self.filling = filling
        self.engine = Engine(net, hamiltonian, fast)
        net.graph(hamiltonian.lattice)  # raises where the extent is too small

    @classmethod
    def load(
        cls,
        path: str | Path,
        lattice: Lattice | None = None,
        filling: float | None = None,
        device: str | torch.device = "cpu",
    ) -> "LearnedForceField":
        """Load a checkpoint of `lattgnn fit`, or one written by :meth:`save`; no code in it is run.

        Args:
            path: the file.
            lattice: where to use it: the lattice of the training in any extent, by default as it was. Sites
                at an open boundary are as good as the training's: a network fitted on a torus saw none.
            filling: see the class.
            device: where the network runs.

        Raises:
            ValueError: no checkpoint, of another format version, or trained on another lattice.
        """
        checkpoint = load_checkpoint(path, device)
        header = read_header(checkpoint, path)
        trained_on = build(header["lattice"], Lattice)
        lattice = trained_on if lattice is None else lattice
        if (lattice.primitive_vectors, lattice.basis) != (
            trained_on.primitive_vectors,
            trained_on.basis,
        ):
            raise InputError(
                f"lattice must be the one that {path} was trained on, {trained_on.name}, got {lattice.name}. "
                "Any extent of that lattice works."
            )
        net = build(header["net"], ForceNetwork, lattice).to(device)
        weights = {
            key.removeprefix("net."): value for key, value in checkpoint["state_dict"].items()
        }
        net.load_state_dict(
            {key: value for key, value in weights.items() if key in net.state_dict()}
        )
        solver = build(header["solver"], Solver)
        return cls(net, build(header["hamiltonian"], Hamiltonian, lattice), solver, filling)

    @classmethod
    def pretrained(
        cls,
        name: str,
        lattice: Lattice | None = None,
        filling: float | None = None,
        device: str | torch.device = "cpu",
    ) -> "LearnedForceField":
        """A force field that comes with the package.

        Those of the Holstein model were fitted on quenches and on random fields of the standard deviation of
        their start, 5.3. They know nothing of weak fields: around Q = 0, uniform or of a standard deviation
        below 1, their forces are wrong by more than the largest electronic force. That of the Peierls model
        was fitted on 80 published snapshots of quenches, displacements of a standard deviation of 0.16, and
        holds for such fields alone. That of the Kondo lattice was fitted on random spins alone, and knows
        nothing of ordered ones.

        Args:
            name: "holstein-square" for the Holstein model, t = 1, g = 3.5, k0 = 1, k1 = 0.18, electrons at
                kT = 0.1, μ = 0; "holstein-square-small" for the same with a fifth of the weights and 3.5
                times the mean square error; "holstein-square-energy" for the same with an energy, at twice
                the cost of "holstein-square";
                "peierls-square" for the Peierls model of arXiv 2510.20659, T = 0, half filled;
                "kondo-square" for `DoubleExchange`, t = 1, J = 3.5, kT = 0, filling 0.48, with an energy.
            lattice: where to use it, see :meth:`load`.
            filling: electrons per state, see the class.
            device: where the network runs.

        Raises:
            ValueError: there is none of that name.
        """
        folder = Path(__file__).parent / "pretrained"
        known = sorted(path.stem for path in folder.glob("*.ckpt"))
        if name not in known:
            raise InputError(f"name must be one of {known}, got {name!r}.")
        return cls.load(folder / f"{name}.ckpt", lattice, filling, device)

    def save(self, path: str | Path) -> None:
        """Write network and header alone: a small checkpoint without the state of the training."""
        weights = {f"net.{key}": value for key, value in self.net.state_dict().items()}
        header = checkpoint_header(self.net, self.hamiltonian, self.solver)
        with atomic_file(path) as temporary:
            torch.save({"lattgnn": header, "state_dict": weights}, temporary)

    @property
    def lattice(self) -> Lattice:
        """The sites."""
        return self.hamiltonian.lattice

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one field, without batch dimensions."""
        return self.hamiltonian.field_shape

    def __call__(
        self, field: Float[Tensor, "..."], out: Float[Tensor, "..."] | None = None
    ) -> tuple[Float[Tensor, "*batch"] | None, Float[Tensor, "..."]]:
        """Total energy (None for a direct head) and forces −∂E/∂field.

        Args:
            field: [..., *field_shape]; the network runs in its own dtype, the classical part in the field's.
            out: where the forces go, a tensor like `field`.
        """
        field = field.detach()
        if self.filling is None:
            self.hamiltonian.check_shape(
                field
            )  # the compiled kernel sees by itself whether it is finite
            flat = (-1, *self.field_shape)
            found = self.engine.total(field.reshape(flat), None if out is None else out.view(flat))
            if found is not None:
                return self._like(field, *found)
        energy, forces = self.electronic(field)
        total = torch.add(forces, self.hamiltonian.classical_forces(field), out=out)
        return None if energy is None else energy + self.hamiltonian.classical_energy(field), total

    @torch.no_grad()
    def electronic(
        self, field: Float[Tensor, "..."]
    ) -> tuple[Float[Tensor, "*batch"] | None, Float[Tensor, "..."]]:
        """Energy and forces of the electrons alone; arguments as for a call."""
        self.hamiltonian.check_field(field)
        flat = field.detach().reshape(-1, *self.field_shape)
        energy, forces = self._grand(flat) if self.filling is None else self._canonical(flat)
        return self._like(field, energy, forces)

    def _like(
        self, field: Tensor, energy: Tensor | None, forces: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        """In the dtype and shape of the field."""
        batch_shape = field.shape[: field.ndim - len(self.field_shape)]
        energy = None if energy is None else energy.to(field.dtype).reshape(batch_shape)
        return energy, forces.to(field.dtype).view(field.shape)

    def _grand(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        parameter = next(self.net.parameters())
        energy, forces = self.engine.electronic(field.to(parameter))
        return None if energy is None else energy.to(field), forces.to(field)

    def _canonical(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        """Each field at the shift of μ that gives it its number of electrons."""
        assert self.filling is not None and self.solver.mu is not None
        model, count = self.hamiltonian, self.filling * self.hamiltonian.n_states

        def excess(mu: float, one: Tensor) -> float:
            _, forces = self._grand(one + model.field_type.field_shift(mu))
            return float(model.field_type.density(forces.double()).sum()) - count

        shifts = [_root(lambda mu, one=one: excess(mu, one)) for one in field.split(1)]
        mu = field.new_tensor(shifts)
        shifted = (
            field + field.new_tensor([model.field_type.field_shift(m) for m in shifts])[:, None]
        )
        energy, forces = self._grand(shifted)
        if energy is not None:
            # Free energy Ω + μN. The background is that of the field, not of the shifted one.
            background = model.background_energy(field) - model.background_energy(shifted)
            energy = energy + background + (self.solver.mu + mu) * count
        return energy, forces


def _root(excess: Callable[[float], float]) -> float:
    """Where an increasing function crosses zero. The bracket is fixed: a restart keeps its bits."""
    low, high = -1.0, 1.0
    while excess(low) > 0 and low > -1e3:
        low *= 2
    while excess(high) < 0 and high < 1e3:
        high *= 2
    return cast(float, brentq(excess, low, high, xtol=1e-7))
