"""Force fields: from a field to its energy and forces, exactly or by a trained network."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lattgnn.backends import Backend
from lattgnn.checkpoint import load_model, save_model
from lattgnn.checkpoint_checks import check_field_type
from lattgnn.errors import InputError, InputTypeError
from lattgnn.field_statistics import FieldStatistics
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork
from lattgnn.pretrained import pretrained_path
from lattgnn.solvers import ElectronicState, Solver
from lattgnn.solvers.filling import find_mu
from lattgnn.trust import Trust


class ExactForceField:
    r"""Energy and forces from the electronic structure, by one formula for every model and solver.

    With the density matrix ρ held fixed (Hellmann–Feynman),

        F = −Re Tr[ρ ∂H/∂φ] − ∂(E_background + E_classical)/∂φ,

    where autograd differentiates the matrix elements only, never the diagonalization.

    Args:
        hamiltonian: The model on its lattice.
        solver: Method for the electrons, and their ensemble. What a tolerance leaves open is found
            at once (`Solver.resolved`); the attribute `solver` has it.
        energy: Whether a call gives the energy too. Without it, a solver with compiled forces
            (`Solver.fast_forces`) is much faster. They are computed in the dtype of the field. None
            leaves the energy out only where there are compiled forces.

    Reference:
        Y. Fan and G.-W. Chern, arXiv:2601.04104, eqs. (4)–(6), for the Holstein model.
    """

    def __init__(
        self, hamiltonian: Hamiltonian, solver: Solver, energy: bool | None = True
    ) -> None:
        self.hamiltonian = hamiltonian
        self.solver = solver.resolved(hamiltonian)
        self._fast = None if energy else self.solver.fast_forces(hamiltonian)
        self.energy = self._fast is None if energy is None else energy
        self._is_warm = False
        self._last_mu: Tensor | None = None

    @property
    def writes_in_place(self) -> bool:
        """Whether a call takes `out`; see `lattgnn.dynamics.state.InPlaceForceField`."""
        return self.is_compiled

    @property
    def is_compiled(self) -> bool:
        """Whether calls run compiled code, which gives no energy."""
        return self._fast is not None

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
    ) -> tuple[Float[Tensor, "*batch"] | Any, Float[Tensor, "..."]]:  # None without `energy`
        """Total energy (None if it is not wanted) and forces −∂E/∂field.

        Args:
            field: [..., *field_shape]. The computation runs on its device.
            out: Tensor that receives the forces: contiguous, with the shape, dtype and device of
                `field`.

        Returns:
            Energy [...] and forces shaped like the field, in its dtype; the computation itself is
            in float64, except for compiled forces. The energy is the grand potential where the
            solver fixes μ, and the free energy where it fixes the filling.

        Raises:
            InputError: The field is not finite or does not have the shape of this lattice, or `out`
                is not like it.
        """
        _check_tensor(field)
        if out is not None:
            _check_out(field, out)
        if self._fast is not None and field.device.type == "cpu" and field.dtype in _FAST_DTYPES:
            return None, self._fast_forces(field, out)
        energy, forces = self._total(field)
        if out is not None:
            forces = out.copy_(forces)
        return energy if self.energy else None, forces

    def _fast_forces(self, field: Tensor, out: Tensor | None) -> Tensor:
        """Compiled forces."""
        assert self._fast is not None
        self.hamiltonian.check_shape(field)
        forces = torch.empty_like(field, memory_format=torch.contiguous_format)
        forces = forces if out is None else out
        flat = (-1, *self.field_shape)
        self._fast(field.detach().reshape(flat).contiguous(), forces.view(flat))
        return forces

    def _total(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Energy and forces in the dtype of the field."""
        with torch.inference_mode(False):  # see `_electronic`
            energy, forces = self._electronic(field)
            exact = field.detach().to(torch.float64, copy=field.is_inference())
            energy = energy + self.hamiltonian.classical_energy(exact)
            forces = forces + self.hamiltonian.classical_forces(exact)
            return energy.to(field.dtype), forces.to(field.dtype)

    def electronic(
        self, field: Float[Tensor, "..."]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "..."]]:
        """Energy and forces without the classical part, which are what a network learns.

        Args:
            field: As for a call.

        Returns:
            As for a call.
        """
        energy, forces = self._electronic(field)
        return energy.to(field.dtype), forces.to(field.dtype)

    @contextmanager
    def warm_start(self) -> Iterator[None]:
        """Start each search for μ from the result of the call before, within a `with` statement.

        It saves solutions where the solver finds μ at fixed filling by trial. The first call inside
        begins without a guess, and nothing is remembered afterwards. The last bits of a result
        depend on the calls before it within the statement, but on nothing else. `simulate` has one
        such statement from each saved frame to the next, so that a run that is continued from any
        frame gives the same bits.
        """
        self._is_warm, self._last_mu = True, None
        try:
            yield
        finally:
            self._is_warm, self._last_mu = False, None

    def _solve(self, field: Tensor) -> ElectronicState:
        """The electrons, with the guess of μ that a warm start provides."""
        if not self._is_warm:
            return self.solver.solve(self.hamiltonian, field)
        guess = self._last_mu
        if guess is not None and guess.shape != field.shape[: field.ndim - len(self.field_shape)]:
            guess = None  # another number of replicas
        state = self.solver.solve_from(self.hamiltonian, field, guess)
        self._last_mu = state.mu
        return state

    def _electronic(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """Energy and forces of the electrons in float64.

        Inference mode is off inside: it has no autograd, which the forces need, and whatever is
        cached in it could never be used for training.
        """
        with torch.inference_mode(False):
            state = self._solve(field.detach())
        with torch.inference_mode(False), torch.enable_grad():
            leaf = field.detach().to(torch.float64, copy=True).requires_grad_()
            background = self.hamiltonian.background_energy(leaf)
            trace = (state.density_elements * self.hamiltonian.elements(leaf)).real.sum(-1)
            (gradient,) = torch.autograd.grad((trace + background).sum(), leaf)
        return state.energy + background.detach(), -gradient


# Dtypes of compiled forces.
_FAST_DTYPES = (torch.float32, torch.float64)


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
        if filling is not None and not 0 < filling < 1:
            raise InputError(
                f"filling must be above 0 and below 1, got {filling!r}. Use electrons per state."
            )
        if filling is not None:
            hamiltonian.field_type.field_shift(0.0)  # raises where the model has none
            if solver.mu is None:
                raise InputError(
                    f"filling needs a network trained at fixed mu, got labels of {solver}. "
                    "Train with mu=0.0."
                )
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
            trust: Names of modules that the file may import, True for all. Without it these are
                lattgnn, the parts of its dependencies that networks are made of, and modules that
                your program has imported; see `lattgnn.trust`.

        Raises:
            InputError: The file is no checkpoint, has another format version or other weights than
                the network, names a module that is not trusted, or the network was trained on
                another lattice.
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
        `field_statistics`; `simulate` warns of others:

        - The Holstein networks were fitted on quenches and on random fields of the standard
          deviation of their start, 5.3. For weak fields (uniform ones near Q = 0, or a standard
          deviation below 1) their errors exceed the largest electronic force.
        - The Peierls network was fitted on 80 published snapshots of quenches, with displacements
          of standard deviation 0.16.
        - The network of the Kondo lattice was fitted on random spins, not on ordered ones.

        Args:
            name: One of these:

                - "holstein-square": Holstein model, t = 1, g = 3.5, k0 = 1, k1 = 0.18, electrons at
                  kT = 0.1 and μ = 0.
                - "holstein-square-small": The same with a fifth of the weights and 3.5 times the
                  mean square error.
                - "holstein-square-energy": The same with an energy, at twice the cost.
                - "peierls-square": Peierls model of arXiv:2510.20659, T = 0, half filling.
                - "kondo-square": `DoubleExchange`, t = 1, J = 3.5, kT = 0, filling 0.48, with an
                  energy.
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
        if not hamiltonian.has_same_electrons(self.hamiltonian):
            free = ", ".join(self.hamiltonian.classical_parameters) or "nothing"
            raise InputError(
                "hamiltonian must have the electrons that the network learned, those of a "
                f"{type(self.hamiltonian).__name__}, got another "
                f"{type(hamiltonian).__name__}. Change at most {free}."
            )
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
        _check_tensor(field)
        if out is not None:
            _check_out(field, out)
        into_inference = out is not None and out.is_inference()
        if torch.is_inference_mode_enabled() or field.is_inference() or into_inference:
            return self._around_inference_mode(field, out)
        return self._total(field.detach(), out)

    def _around_inference_mode(
        self, field: Tensor, out: Tensor | None
    ) -> tuple[Tensor | None, Tensor]:
        """A call in inference mode, or with tensors that were made in it.

        Inference mode is off inside, for the reason given at `ExactForceField._electronic`.
        """
        direct = None if out is None or out.is_inference() else out
        with torch.inference_mode(False):
            plain = field.detach().clone() if field.is_inference() else field.detach()
            energy, forces = self._total(plain, direct)
        if out is None or out is direct:
            return energy, forces
        with torch.inference_mode():  # only here may a tensor that was made in it be written to
            return energy, out.copy_(forces)

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
        # On a GPU, checking the values would make the host wait for the device at every call.
        # `simulate` checks them there, and for other callers NaN in the field gives NaN forces.
        if field.device.type == "cpu":
            self.hamiltonian.check_field(field)
        else:
            self.hamiltonian.check_shape(field)
        flat = field.detach().reshape(-1, *self.field_shape)
        energy, forces = self._grand(flat) if self.filling is None else self._canonical(flat)
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
        if self.filling is not None:
            count = self.filling * self.hamiltonian.n_states
            mu += torch.tensor(self._mu_shifts(flat, count), dtype=torch.float64)
        return mu.reshape(field.shape[: field.ndim - len(self.field_shape)])

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

    def _canonical(self, field: Tensor) -> tuple[Tensor | None, Tensor]:
        """Energy and forces at fixed filling: each field has its own chemical potential."""
        assert self.filling is not None and self.solver.mu is not None
        model, count = self.hamiltonian, self.filling * self.hamiltonian.n_states
        shifts = self._mu_shifts(field, count)
        mu = field.new_tensor(shifts)
        shifted = (
            field + field.new_tensor([model.field_type.field_shift(m) for m in shifts])[:, None]
        )
        energy, forces = self._grand(shifted)
        if energy is not None:
            # The free energy is Ω + μN. Its background belongs to the field itself, not to the
            # shifted one.
            background = model.background_energy(field) - model.background_energy(shifted)
            energy = energy + background + (self.solver.mu + mu) * count
        return energy, forces

    def _mu_shifts(self, field: Tensor, count: float) -> list[float]:
        """Chemical potential at which each field has so many electrons, from that of the labels."""
        model = self.hamiltonian

        def electrons(mu: float, one: Tensor) -> float:
            """Number of electrons, with μ measured from that of the labels."""
            _, forces = self._grand(one + model.field_type.field_shift(mu))
            return float(model.field_type.density(forces.double()).sum())

        # One root search per field, which does not start from an earlier solution: results do not
        # depend on the other fields of the batch, and a restarted run gives the same bits.
        return [
            find_mu(partial(electrons, one=one), count, precision=1e-7) for one in field.split(1)
        ]


def _check_tensor(field: object) -> None:
    """Refuse an array of another library, which would fail in a place that says less."""
    if not isinstance(field, Tensor):
        raise InputTypeError(
            f"field must be a torch tensor, got {type(field).__name__}. Use torch.as_tensor(field)."
        )


def _check_out(field: Tensor, out: Tensor) -> None:
    """Refuse an `out` that is not like the field: compiled code writes to its address."""
    same = (out.shape, out.dtype, out.device) == (field.shape, field.dtype, field.device)
    if not same or not out.is_contiguous():
        raise InputError(
            f"out must be a contiguous {list(field.shape)} tensor of {field.dtype} on "
            f"{field.device}, got {list(out.shape)} of {out.dtype} on {out.device}. "
            "Use torch.empty_like(field)."
        )
