"""The force field of a run is made again from what the run says about it."""

import json

import pytest
import torch

from lattgnn.disorder import BoxDisorder, DisorderedForceField
from lattgnn.dynamics import Trajectory
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.run_records import RunRecord, describe_force_field
from lattgnn.solvers import DomainDiagonalization, ExactDiagonalization
from tests.audit.runs import simulated

EXACT = ExactForceField(Holstein(square(6), g=2.0), ExactDiagonalization(0.1, 0.0))
DOMAINS = ExactForceField(Holstein(square(6)), DomainDiagonalization(0.1, 0.0, core=2, buffer=1))


def learned(filling=None):
    """A shipped network with another stiffness."""
    found = LearnedForceField.pretrained("holstein-square-small", square(8), filling)
    return found.with_hamiltonian(Holstein(square(8), g=3.5, k0=1.5, k1=0.18))


@pytest.mark.parametrize(
    "force_field",
    [EXACT, DOMAINS, learned(), learned(0.4), DisorderedForceField(DOMAINS, BoxDisorder(2.0, 3))],
)
def test_the_force_field_is_made_again_with_the_same_bits(force_field):
    run = simulated(force_field, n_steps=1)
    record = RunRecord(run)
    again = record.force_field("holstein-square-small" if record.is_learned else None)
    assert describe_force_field(again) == describe_force_field(force_field)
    field = torch.from_numpy(run.fields[0])
    assert torch.equal(again(field)[1], force_field(field)[1])


def test_on_site_energies_that_are_not_recorded_are_refused():
    run = simulated(DisorderedForceField(EXACT, torch.zeros(36)), n_steps=1)
    with pytest.raises(InputError, match="not recorded"):
        RunRecord(run)


def test_a_damaged_record_is_refused():
    run = simulated(EXACT, n_steps=1)
    for change in ({"class_path": "os.system"}, {"init_args": {}}, {"init_args": None}):
        spec = json.loads(json.dumps(run.config["force_field"])) | change
        with pytest.raises(InputError, match="does not say"):
            RunRecord(Trajectory(run.arrays, run.config | {"force_field": spec}))
