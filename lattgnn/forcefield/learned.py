"""Force fields from a trained network."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.backends import Backend
from lattgnn.checkpoint import check_field_type, load_model, save_model
from lattgnn.errors import InputError
from lattgnn.field_statistics import FieldStatistics
from lattgnn.forcefield.field_checks import (
    check_out,
    check_same_electrons,
    check_tensor,
    check_without_waiting,
)
from lattgnn.forcefield.fixed_filling import FixedFilling
from lattgnn.forcefield.inference_mode import outside_inference_mode
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork
from lattgnn.pretrained import pretrained_path
from lattgnn.solvers import Solver
from lattgnn.trust import Trust


class LearnedForceField:
    r"""A trained network in place of the electrons, with the exact classical part.

    At fixed `filling` the chemical potential μ depends on the whole field, which no local network
    can see. A uniform shift of the field takes its place. For a field that couples to the local
    density,

        F_canonical(Q) = F_{μ=0}(Q + μ/g),

    and μ solves Σ_i n_i(Q + μ/g) = filling · n_states with the densities that the network predicts.

    Weights may change at any time, on the CPU in any way: the next call uses the new ones.

    Args:
        net: Trained network; `net(field, graph)` gives electronic energy (or None) and forces.
        hamiltonian: The model on the lattice to be simulated.
        solver: Method that computed the labels, with their μ.
        filling: Electrons per state; None keeps the chemical potential of the labels.
        fast: Use a faster form of the network (`lattgnn.backends`) where there is one. Compiled
            code is checked against the network at the first call. False runs the network's own
            code.
        field_statistics: What the training fields looked like, None if unknown. `simulate` compares
            the saved frames with them.

    Raises:
        InputError: `filling` is given for a Hamiltonian in which μ does not shift the field, or the
            network was made for another kind of field.
    """

    writes_in_place = True
    """Whether a call takes `out`; see `lattgnn.dynamics.state.InPlaceForceField`."""

    def __init__(
        self,
        net: ForceNetwork,
        hamiltonian: Hamiltonian,
        solver: Solver,
        filling: float | None = None,
        fast: bool = True,
        field_statistics: FieldStatistics | None = None,
    ) -> None:
        FixedFilling.of(hamiltonian, solver, filling, self._grand)  # raises where there is none
        check_field_type(net, hamiltonian)
        self.net = net.eval()
        self.hamiltonian = hamiltonian
        self.solver = solver
        self.filling = filling
        self.field_statistics = field_statistics
        self.backend = Backend(net, hamiltonian, fast)
        net.graph(hamiltonian.lattice)  # raises where the extent is too small for the cutoff

    @classmethod
    def load(
        cls,
        path: str | Path,
        lattice: Lattice | None = None,
        filling: float | None = None,
        device: str | torch.device = "cpu",
        fast: bool = True,
        trust: Trust = (),
    ) -> "LearnedForceField":
        """Load a checkpoint of `lattgnn fit`, or one written by :meth:`save`; no code in it is run.

        Args:
            path: The file.
            lattice: The lattice to be simulated: that of the training with any extent, by default
                with the same. At an open boundary forces are only as good as the training data: a
                network that was fitted on a torus has seen no boundary.
            filling: Electrons per state, see the class.
            device: Device of the network.
            fast: See the class.
            trust: Names of further modules that the file may import, True for all; see
                `lattgnn.trust`.

        Raises:
            InputError: The file is not a checkpoint, has an unknown format version or the weights
                of another network, or names a module that is not trusted; or the network was
                trained on another lattice.
        """
        net, hamiltonian, solver, statistics = load_model(path, lattice, device, trust)
        return cls(net, hamiltonian, solver, filling, fast, statistics)

    @classmethod
    def pretrained(
        cls,
        name: str,
        lattice: Lattice | None = None,
        filling: float | None = None,
        device: str | torch.device = "cpu",
        fast: bool = True,
    ) -> "LearnedForceField":
        """A force field that is part of the package.

        Each one holds only for fields like those of its training, whose statistics are in
        `field_statistics`; `simulate` warns of others.

        Args:
            name: One of these:

                - "holstein-square": Holstein model, t = 1, g = 3.5, k0 = 1, k1 = 0.18, electrons at
                  kT = 0.1 and μ = 0. For quenches from random fields of standard deviation 5.3. In
                  weak fields (standard deviation below 1, or uniform near Q = 0) its errors exceed
                  the largest electronic force.
                - "holstein-square-small": The same with a fifth of the weights and 3.5 times the
                  mean square error.
                - "holstein-square-energy": The same with an energy, at twice the cost.
                - "peierls-square": Peierls model of arXiv:2510.20659, T = 0, half filling. For
                  quenches like the published ones, displacements of standard deviation 0.16.
                - "kondo-square": `DoubleExchange`, t = 1, J = 3.5, kT = 0, filling 0.48, with an
                  energy. For random spins, not for ordered ones.
                - "tetrahedral-triangular": `DoubleExchange` on the triangular lattice, t = 1,
                  J = 3, kT = 0.1, μ = −3.3, with an energy. For the tetrahedral order and
                  quenches into it; without the part of the effective field along a spin.
                - "order-120-triangular": The same with J = 6, kT = 0.1, μ = −1.5, which is half
                  filling. For the 120° order and quenches into it.
                - "skyrmion-triangular": `DoubleExchange` on the triangular lattice, t1 = 1,
                  t3 = −0.85, J = 0.5, kT = 0.05, μ = −3.5, with an energy. For the skyrmion
                  crystal; without the part of the effective field along a spin.
            lattice: The lattice to be simulated, see :meth:`load`.
            filling: Electrons per state, see the class.
            device: Device of the network.
            fast: See the class.

        Raises:
            InputError: No force field has this name.
        """
        return cls.load(pretrained_path(name), lattice, filling, device, fast)

    def with_hamiltonian(self, hamiltonian: Hamiltonian) -> "LearnedForceField":
        """The same network with other parameters of the classical energy, which was not learned.

        Args:
            hamiltonian: The model, which differs at most in its `classical_parameters`.

        Raises:
            InputError: If another parameter differs.
        """
        if hamiltonian == self.hamiltonian:
            return self
        check_same_electrons(self.hamiltonian, hamiltonian)
        return LearnedForceField(
            self.net,
            hamiltonian,
            self.solver,
            self.filling,
            self.backend.fast,
            self.field_statistics,
        )

    def save(self, path: str | Path) -> None:
        """Write a small checkpoint: the network and its header, without the state of the training.

        Args:
            path: The file, which appears only when it is complete.
        """
        save_model(path, self.net, self.hamiltonian, self.solver, self.field_statistics)

    @property
    def lattice(self) -> Lattice:
        """The lattice of the field."""
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
            field: [..., *field_shape]. The network runs in its own dtype, the classical part in
                that of the field.
            out: Tensor that receives the forces: contiguous, with the shape, dtype and device of
                `field`.

        Returns:
            Energy [...] or None, and forces like the field.

        Raises:
            InputError: The field is not finite or does not have the shape of this lattice, or `out`
                is not like it.
        """
        check_tensor(field)
        if out is not None:
            check_out(field, out)
        into_inference = out is not None and out.is_inference()
        if torch.is_inference_mode_enabled() or field.is_inference() or into_inference:
            return outside_inference_mode(self._total, field, out)
        return self._total(field.detach(), out)

    def _total(self, field: Tensor, out: Tensor | None) -> tuple[Tensor | None, Tensor]:
        """Energy and forces of a call."""
        if self.filling is None:
            # Compiled code checks by itself that the field is finite.
            self.hamiltonian.check_shape(field)
            rows, rows_out = field, out
            if field.ndim != 1 + len(self.field_shape):
                shape = (-1, *self.field_shape)
                rows, rows_out = field.reshape(shape), None if out is None else out.view(shape)
            found = self.backend.total(rows, rows_out)
            if found is not None:
                return self._like(field, *found)
        energy, forces = self.electronic(field)
        total = torch.add(forces, self.hamiltonian.classical_forces(field), out=out)
        return None if energy is None else energy + self.hamiltonian.classical_energy(field), total

    @property
    def is_compiled(self) -> bool:
        """Whether calls run compiled code."""
        return self.backend.is_compiled

    def prepare(self) -> None:
        """Build the backend now, and again if any weight has changed, on a GPU too.

        `lattgnn.dynamics.simulate` calls it once before the first step. Without it the first call
        builds the backend.

        Raises:
            InputError: A weight is not finite.
            RuntimeError: Compiled code does not give the forces of the network.
        """
        self.backend.prepare()

    @torch.inference_mode(False)
    @torch.no_grad()
    def electronic(
        self, field: Float[Tensor, "..."]
    ) -> tuple[Float[Tensor, "*batch"] | None, Float[Tensor, "..."]]:
        """Energy and forces of the electrons alone.

        Args:
            field: As for a call.

        Returns:
            As for a call.
        """
        check_without_waiting(self.hamiltonian, field)
        flat = field.detach().reshape(-1, *self.field_shape)
        energy, forces = (self._fixed_filling or self._grand)(flat)
        return self._like(field, energy, forces)

    @torch.inference_mode(False)
    @torch.no_grad()
    def chemical_potential(self, field: Float[Tensor, "..."]) -> Float[Tensor, "*batch"]:
        """Chemical potential of each field: that of the labels, or the one that `filling` needs.

        Args:
            field: As for a call.

        Returns:
            One number per field, float64.

        Raises:
            InputError: The labels are those of a fixed filling, so that the network holds for the
                chemical potential of each field, without telling it.
        """
        if self.solver.mu is None:
            raise InputError(
                f"the network has labels at fixed filling, {self.solver}, and does not tell the "
                "chemical potential of a field. Use a network with labels at fixed mu."
            )
        flat = field.detach().reshape(-1, *self.field_shape)
        mu = torch.full((len(flat),), self.solver.mu, dtype=torch.float64)
        canonical = self._fixed_filling
        if canonical is not None:
            mu += torch.tensor(canonical.shifts(flat), dtype=torch.float64)
        return mu.reshape(field.shape[: field.ndim - len(self.field_shape)])

    @property
    def _fixed_filling(self) -> FixedFilling | None:
        return FixedFilling.of(self.hamiltonian, self.solver, self.filling, self._grand)

    def _like(
        self, field: Tensor, energy: Tensor | None, forces: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        """Energy and forces in the dtype and the batch shape of the field."""
        if energy is not None:
            batch_shape = field.shape[: field.ndim - len(self.field_shape)]
            energy = energy.to(field.dtype).reshape(batch_shape)
        forces = forces.to(field.dtype)
        return energy, forces if forces.shape == field.shape else forces.view(field.shape)

    def _grand(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        """Energy and forces of the electrons at the chemical potential of the labels."""
        parameter = next(self.net.parameters())
        energy, forces = self.backend.electronic(field.to(parameter))
        return None if energy is None else energy.to(field), forces.to(field)
