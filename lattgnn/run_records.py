"""The force field of a run: how it is recorded, and how it is made again from the record.

The configuration of a trajectory describes the force field in plain types: the model, the solver,
and the hash of the weights of a network. The weights themselves are in the checkpoint, whose place
`lattgnn simulate` writes into `provenance.json`.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from lattgnn.data.code_identity import code_identity
from lattgnn.disorder import BoxDisorder, DisorderedForceField
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.pretrained import find_checkpoint
from lattgnn.serialize import build, config_differences, describe
from lattgnn.solvers import Solver
from lattgnn.trust import Trust, reading

#: Files in the folder of a run: its resolved configuration, and where it comes from.
CONFIG, PROVENANCE = "config.yaml", "provenance.json"

AnyForceField = ExactForceField | LearnedForceField | DisorderedForceField

_EXACT = "lattgnn.forcefield.ExactForceField"
_LEARNED = "lattgnn.forcefield.LearnedForceField"
_DISORDERED = "lattgnn.disorder.DisorderedForceField"


def describe_force_field(force_field: AnyForceField) -> dict[str, Any]:
    """Description of a force field, by which a resumed run recognizes it.

    Args:
        force_field: The force field.

    Returns:
        Plain JSON types: class_path and init_args.
    """
    if isinstance(force_field, DisorderedForceField):
        found = {
            "clean": describe_force_field(force_field.clean),
            "on_site_energy": describe(force_field.disorder),
        }
        return {"class_path": _DISORDERED, "init_args": found}
    found = {
        "hamiltonian": describe(force_field.hamiltonian),
        "solver": describe(force_field.solver),
    }
    # A run is continued only by the code that began it. Classes of lattgnn have no such entry.
    code = code_identity(force_field.hamiltonian, force_field.solver)
    if code:
        found["code"] = code
    if isinstance(force_field, ExactForceField):
        # Runs from before there was a choice do not have this entry.
        if not force_field.energy:
            found["energy"] = False
        return {"class_path": _EXACT, "init_args": found}
    digest = hashlib.sha256()
    for name, weights in sorted(force_field.net.state_dict().items()):
        digest.update(name.encode() + weights.cpu().numpy().tobytes())
    found |= {"weights_sha256": digest.hexdigest(), "filling": force_field.filling}
    return {"class_path": _LEARNED, "init_args": found}


class RunRecord:
    """What a run says about its force field, and the force field made again from it.

    Args:
        run: A trajectory of `lattgnn simulate`.
        trust: Modules that the run may import besides those that every file may, see
            `lattgnn.trust`.

    Attributes:
        lattice: The lattice of the run.
        hamiltonian: The model, without disorder.
        solver: The solver of the run, or that of the labels of its network.
        filling: Electrons per state that a learned force field keeps, or None.
        is_learned: Whether a network gives the forces of the electrons.
        disorder: Random on-site energies, or None.

    Raises:
        InputError: If the run does not say what its force field is.
    """

    def __init__(self, run: Trajectory, trust: Trust = ()) -> None:
        self.run = run
        self._name = "the run" if run.path is None else str(run.path)
        self.lattice = run.lattice
        spec = self._spec(run.config.get("force_field"))
        self.disorder: BoxDisorder | None = None
        with reading(self._name, trust):
            if spec["class_path"] == _DISORDERED:
                self.disorder = self._disorder(spec["init_args"].get("on_site_energy"))
                spec = self._spec(spec["init_args"].get("clean"))
            arguments = spec["init_args"]
            self.is_learned = spec["class_path"] == _LEARNED
            self.hamiltonian: Hamiltonian = build(
                arguments["hamiltonian"], Hamiltonian, self.lattice
            )
            self.solver: Solver = build(arguments["solver"], Solver)
        self.filling: float | None = arguments.get("filling")
        self._energy: bool = arguments.get("energy", True)
        self._trust = trust

    def force_field(self, checkpoint: str | Path | None = None) -> AnyForceField:
        """Make the force field of the run.

        Args:
            checkpoint: File of the network, or the name of a shipped one. None takes the one that
                the run has recorded.

        Raises:
            InputError: If the checkpoint is not known, is missing, or has other weights than the
                network of the run.
        """
        clean: ExactForceField | LearnedForceField
        if self.is_learned:
            recorded = checkpoint is None
            path = self._recorded_checkpoint() if recorded else find_checkpoint(checkpoint)
            learned = LearnedForceField.load(
                path, self.lattice, filling=self.filling, trust=self._trust
            )
            clean = learned.with_hamiltonian(self.hamiltonian)
        else:
            path, clean = None, ExactForceField(self.hamiltonian, self.solver, self._energy)
        found = clean if self.disorder is None else DisorderedForceField(clean, self.disorder)
        described = json.loads(json.dumps(describe_force_field(found)))
        different = list(config_differences(self.run.config["force_field"], described))
        if different:
            what = "the present code" if path is None else str(path)
            raise InputError(
                f"{what} does not give the force field of {self._name}, which differs in "
                f"{', '.join(different)}. Use the checkpoint and the code that made the run."
            )
        return found

    def _spec(self, spec: Any) -> dict[str, Any]:
        """A description of a force field, checked."""
        if isinstance(spec, dict) and isinstance(spec.get("init_args"), dict):
            needed = {
                _EXACT: {"hamiltonian", "solver"},
                _LEARNED: {"hamiltonian", "solver", "weights_sha256"},
                _DISORDERED: {"clean", "on_site_energy"},
            }
            if needed.get(spec.get("class_path", ""), {""}) <= spec["init_args"].keys():
                return spec
        raise InputError(
            f"{self._name} does not say what its force field is. Use a run of `lattgnn simulate`, "
            "or pass config=describe_force_field(...) to simulate()."
        )

    def _disorder(self, spec: Any) -> BoxDisorder:
        if spec is None:
            raise InputError(
                f"{self._name} has on-site energies of its own, which are not recorded. Use a run "
                "with BoxDisorder."
            )
        return build(spec, BoxDisorder)

    def _recorded_checkpoint(self) -> Path:
        """The checkpoint that the run was made with, by its path or by its name."""
        path = None if self.run.path is None else self.run.path / PROVENANCE
        record = None
        if path is not None and path.is_file():
            with reading(path):
                record = json.loads(path.read_text(encoding="utf-8")).get("checkpoint")
        if not isinstance(record, dict) or not isinstance(record.get("path"), str):
            raise InputError(
                f"{self._name} does not say which checkpoint it was made with. Name it with "
                "--checkpoint."
            )
        found = Path(record["path"])
        if found.is_file():
            return found
        name = str(record.get("name"))
        # A shipped force field may lie elsewhere on this machine.
        if Path(name).name == name and not Path(name).suffix:
            return find_checkpoint(name)
        raise InputError(
            f"the checkpoint of {self._name} is no longer at {str(found)!r}. Name it with "
            "--checkpoint."
        )
