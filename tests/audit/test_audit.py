"""Audits find the errors that runs have, resume, and refuse what they cannot judge."""

import json
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
import yaml

from lattgnn.audit import audit_run
from lattgnn.audit.reference import RunForces
from lattgnn.cli import main
from lattgnn.data import LatticeDataset
from lattgnn.disorder import BoxDisorder, DisorderedForceField
from lattgnn.dynamics import (
    HeunLLG,
    OverdampedSpins,
    Regular,
    Trajectory,
    initial_spins,
    simulate,
)
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField, LearnedForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein
from lattgnn.lattice import square
from lattgnn.nn import OrbitNetwork
from lattgnn.report.audit_report import audit_plot, audit_table
from lattgnn.run_records import RunRecord, describe_force_field
from lattgnn.solvers import DomainDiagonalization, ExactDiagonalization
from tests.audit.runs import simulated

EXACT = ExactDiagonalization(kT=0.1, mu=0.0)
OVERDAMPED = OverdampedSpins(dt=0.1, kT=0.01)
#: Patches of 8 × 8 sites, small enough for a test.
SMALL: dict[str, Any] = {"core": 2, "halo": 3, "windows": 2, "solver": EXACT}


def true_errors(run, force_field):
    """Mean square error of each frame, by exact diagonalization of all of it."""
    exact = ExactForceField(force_field.hamiltonian, EXACT)
    found = []
    for frame in range(len(run.steps)):
        field = torch.from_numpy(run.fields[frame])
        found.append(float((force_field(field)[1] - exact(field)[1]).square().mean()))
    return np.array(found)


def test_all_frames_of_a_small_lattice_give_the_error_without_uncertainty(rough, rough_run):
    audit = audit_run(rough_run, windows=2)
    errors = true_errors(rough_run, rough)
    assert audit.config["patch"] == [12, 12]
    assert audit.total.reference_mse == 0
    for window, frames in zip(audit.windows, (slice(0, 3), slice(3, 9)), strict=True):
        assert window.mse.value == pytest.approx(errors[frames].mean(), rel=1e-9)
        assert window.mse.low == window.mse.value == window.mse.high
    assert audit.total.mse.value == pytest.approx(errors.mean(), rel=1e-9)
    forces = np.stack([rough(torch.from_numpy(rough_run.fields[n]))[1] for n in range(9)])
    relative = np.sqrt(errors.mean() / np.square(forces).mean())
    assert audit.total.relative.value == pytest.approx(relative, rel=0.01)
    worst = audit.worst[0]
    assert worst.error == pytest.approx(abs(worst.run[0] - worst.reference[0]))
    assert [site.error for site in audit.worst] == sorted(s.error for s in audit.worst)[::-1]


def test_patches_give_the_error_within_the_interval(rough, rough_run):
    audit = audit_run(rough_run, n_patches=40, **SMALL)
    errors = true_errors(rough_run, rough)
    assert audit.total.mse.low < errors.mean() < audit.total.mse.high
    assert audit.total.mse.high < 3 * errors.mean()
    assert 0 < audit.total.reference_mse < 0.05 * errors.mean()
    assert audit.total.reference_is_good
    assert audit.total.n_checked == 6


def test_a_reference_that_is_no_better_than_the_run_is_told(rough_run):
    poor = DomainDiagonalization(kT=0.1, mu=0.0, core=3, buffer=1)
    audit = audit_run(rough_run, solver=poor, n_patches=5, core=2, halo=1)
    assert not audit.total.reference_is_good


def test_saved_forces_are_used_and_a_network_is_not_needed(rough, tmp_path):
    run = simulated(rough, n_steps=2, forces=True)
    run.arrays["forces"][:] += 1.0
    audit = audit_run(run)
    assert audit.total.mse.value == pytest.approx(1.0, rel=0.1)
    assert audit.total.mse.value > 1.0


def test_disorder_is_part_of_the_field_that_both_see(rough):
    disordered = DisorderedForceField(rough, BoxDisorder(width=4.0, seed=2))
    run = simulated(disordered, n_steps=2, n_replicas=1)
    assert disordered.disorder is not None
    exact = DisorderedForceField(ExactForceField(rough.hamiltonian, EXACT), disordered.disorder)
    field = torch.from_numpy(run.fields[:])
    right = float((disordered(field)[1] - exact(field)[1]).square().mean())
    assert audit_run(run).total.mse.value == pytest.approx(right, rel=1e-9)


def test_the_components_of_spins_have_errors_of_their_own():
    model = DoubleExchange(square(4))
    force_field = ExactForceField(model, DomainDiagonalization(0.1, -3.0, core=1, buffer=1))
    state = initial_spins(force_field, 0)
    integrator = HeunLLG(dt=0.1, kT=0.01, alpha=0.1)
    config = describe_force_field(force_field)
    run = simulate(force_field, integrator, state, 2, Regular(1), config=config)
    audit = audit_run(run)
    mean = np.mean([estimate.value for estimate in audit.total.mse_of_component])
    assert len(audit.total.mse_of_component) == 3
    assert audit.total.mse.value == pytest.approx(mean)
    assert len(audit.worst[0].run) == 3
    assert not audit.tangent and "perpendicular" not in audit_table(audit)


def test_of_a_network_without_the_part_along_the_spin_the_rest_is_audited():
    torch.manual_seed(0)
    model = DoubleExchange(square(4))
    net = OrbitNetwork(model.lattice, model.field_type, n_layers=1, tangent=True).double()
    solver = ExactDiagonalization(kT=0.1, mu=-3.0)
    learned = LearnedForceField(net, model, solver)
    save, config = Regular(1, forces=True), describe_force_field(learned)
    run = simulate(learned, OVERDAMPED, initial_spins(learned, 0), 2, save, config=config)
    audit = audit_run(run, windows=1)
    squares = []
    for frame in range(3):
        spins = torch.from_numpy(run.fields[frame])
        error = learned(spins)[1] - ExactForceField(model, solver)(spins)[1]
        squares.append(np.square(np.cross(error, spins)).mean())
    assert audit.tangent and audit.total.mse.value == pytest.approx(np.mean(squares), rel=1e-6)
    assert "perpendicular to the spin alone, so all errors" in audit_table(audit)


class TestFilling:
    """Runs at fixed filling: whole frames at this filling, patches at the μ of their frame."""

    @pytest.fixture
    def run(self):
        model, solver = Holstein(square(12)), ExactDiagonalization(kT=0.1, filling=0.4)
        return simulated(ExactForceField(model, solver), n_steps=1, n_replicas=1)

    def test_whole_frames_are_solved_at_the_filling(self, run):
        assert audit_run(run).total.mse.value < 1e-20

    def test_patches_are_solved_at_the_chemical_potential_of_the_frame(self, run, tmp_path):
        audit = audit_run(run, tmp_path / "a", core=2, halo=4, n_patches=6, n_checks=0)
        assert audit.total.mse.value < 1e-5
        # The labels belong to one ensemble, in which the field is shifted.
        written = yaml.safe_load((tmp_path / "a/dataset.yaml").read_text())
        assert written["solver"]["init_args"] == {"kT": 0.1, "mu": 0.0, "filling": None}
        labels = np.load(tmp_path / "a/train.npz")
        exact = ExactForceField(Holstein(square(10)), EXACT)
        _, forces = exact(torch.from_numpy(labels["field"]))
        assert np.allclose(labels["forces"], forces, atol=1e-10)

    @pytest.mark.slow
    def test_the_shift_of_a_network_at_a_filling_is_followed(self):
        learned = LearnedForceField.pretrained("holstein-square-small", square(12), filling=0.4)
        run = simulated(learned, n_steps=1, n_replicas=1)
        record, name = RunRecord(run), "holstein-square-small"
        (mu,) = [RunForces(run, record, name, needs_mu=True).frame(0, 0).mu]
        assert mu is not None
        shifted = torch.from_numpy(run.fields[0]) + learned.hamiltonian.field_type.field_shift(mu)
        grand = LearnedForceField.pretrained("holstein-square-small", square(12))
        density = learned.hamiltonian.field_type.density(grand.electronic(shifted)[1])
        assert float(density.mean()) == pytest.approx(0.4, abs=1e-6)
        audit = audit_run(run, checkpoint=name, core=2, halo=4, n_patches=4)
        assert audit.total.mse.value < 1e-2


class TestFolder:
    """An audit on disk can be interrupted, extended and used as a dataset."""

    def files(self, folder):
        """The arrays of all patches, and the result."""
        found = {}
        for path in sorted((folder / "patches").iterdir()):
            with np.load(path) as file:
                found[path.name] = {name: file[name].tolist() for name in file.files}
        return found

    def test_a_resumed_audit_is_that_of_one_call(self, rough_run, tmp_path):
        whole = audit_run(rough_run, tmp_path / "whole", n_patches=5, **SMALL)
        audit_run(rough_run, tmp_path / "parts", n_patches=3, **SMALL)
        patches = sorted((tmp_path / "parts/patches").iterdir())
        patches[0].unlink()
        content = patches[1].read_bytes()
        patches[1].write_bytes(content[: len(content) // 2])
        again = audit_run(rough_run, tmp_path / "parts", n_patches=5, **SMALL)
        assert again == whole
        assert self.files(tmp_path / "parts") == self.files(tmp_path / "whole")
        assert audit_run(rough_run, n_patches=5, **SMALL) == whole

    def test_another_audit_in_the_same_folder_is_refused(self, rough_run, tmp_path):
        options: dict[str, Any] = SMALL | {"n_patches": 1}
        audit_run(rough_run, tmp_path / "a", **options)
        for change in ({"seed": 1}, {"halo": 2}, {"windows": 3}):
            other = options | cast(Any, change)
            with pytest.raises(InputError, match="holds an audit with"):
                audit_run(rough_run, tmp_path / "a", **other)
        (tmp_path / "other").mkdir()
        (tmp_path / "other/thesis.tex").touch()
        with pytest.raises(InputError, match="other files"):
            audit_run(rough_run, tmp_path / "other", **options)

    def test_what_a_killed_audit_has_left_half_written_is_removed(self, rough_run, tmp_path):
        (tmp_path / "a").mkdir()
        leftovers = ["a/.audit.json.0a1b2c3d.tmp.json", "a/patches/.00-0000.npz.0a1b2c3d.tmp.npz"]
        (tmp_path / leftovers[0]).touch()
        audit_run(rough_run, tmp_path / "a", n_patches=1, **SMALL)
        (tmp_path / leftovers[1]).touch()
        audit_run(rough_run, tmp_path / "a", n_patches=1, **SMALL)
        assert not any((tmp_path / name).exists() for name in leftovers)
        assert len(list((tmp_path / "a/patches").iterdir())) == 2

    @pytest.mark.slow
    def test_an_audit_keeps_its_frames_when_the_run_becomes_longer(self, rough, tmp_path):
        short = simulated(rough, tmp_path / "run", n_steps=3)
        first = audit_run(short, tmp_path / "a", n_patches=5, **SMALL)
        longer = simulated(rough, tmp_path / "run", n_steps=6)
        assert audit_run(longer, tmp_path / "a", n_patches=5, **SMALL) == first
        assert audit_run(longer, n_patches=5, **SMALL).config["n_frames"] == 7

    @pytest.mark.slow
    def test_the_patches_are_a_dataset(self, rough_run, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        audit_run(rough_run, tmp_path / "a", n_patches=8, **SMALL)
        options = ["--symmetry_check=false", "--progress=false"]
        assert main(["generate", "--config=a/dataset.yaml", *options]) == 0
        dataset = LatticeDataset.open(capsys.readouterr().out.strip())
        assert dataset.lattice == square(8)
        assert [len(dataset.frames(split)) for split in dataset.splits] == [11, 3, 2]
        frames = dataset.frames("train")
        exact = ExactForceField(dataset.hamiltonian, EXACT)
        energy, forces = exact.electronic(torch.from_numpy(frames.field))
        assert np.allclose(frames.forces, forces, atol=1e-10)
        assert np.allclose(frames.energy, energy)


class TestRefusals:
    """What an audit cannot judge is refused in one line."""

    @pytest.mark.parametrize(
        "solver",
        [replace(EXACT, kT=0.2), replace(EXACT, mu=0.1), replace(EXACT, mu=None, filling=0.5)],
    )
    def test_a_reference_with_other_electrons(self, rough_run, solver):
        with pytest.raises(InputError, match=r"electrons of the run, kT=0.1, mu=0.0"):
            audit_run(rough_run, solver=solver)

    def test_a_run_that_does_not_say_what_its_force_field_is(self, rough):
        run = simulated(rough, n_steps=1)
        anonymous = Trajectory(run.arrays, run.config | {"force_field": None})
        with pytest.raises(InputError, match="does not say what its force field is"):
            audit_run(anonymous)

    def test_a_network_whose_checkpoint_is_not_known_or_another_one(self):
        learned = LearnedForceField.pretrained("holstein-square-small", square(8))
        run = simulated(learned, n_steps=1)
        with pytest.raises(InputError, match="which checkpoint"):
            audit_run(run)
        with pytest.raises(InputError, match="weights_sha256"):
            audit_run(run, checkpoint="holstein-square")
        with pytest.raises(InputError, match="hamiltonian"):
            audit_run(run, checkpoint="peierls-square")

    def test_numbers_that_are_none(self, rough_run):
        for name in ("core", "halo", "n_patches", "windows", "seed", "n_checks"):
            with pytest.raises(InputError, match=name):
                audit_run(rough_run, **cast(Any, {name: -1}))


def test_the_result_is_json(rough_run):
    audit = audit_run(rough_run, n_patches=1, **SMALL)
    assert json.loads(json.dumps(audit.to_dict(), allow_nan=False))["total"]["n_patches"] == 2


def test_a_very_wide_interval_does_not_hide_the_errors_in_the_picture(rough_run):
    audit = audit_run(rough_run, n_patches=1, **SMALL)
    first, *others = audit.windows
    value = max(window.mse.value for window in audit.windows)
    wide = replace(first, mse=replace(first.mse, low=first.mse.value / 2, high=1e12 * value))
    (axes,) = audit_plot(replace(audit, windows=(wide, *others))).axes
    low, high = axes.get_ylim()
    assert low < first.rms.value < high == pytest.approx(10 * value**0.5)


@pytest.mark.slow
def test_intervals_contain_the_error_of_all_sites_and_frames_in_at_least_nine_of_ten_audits(
    rough, rough_run
):
    errors, n_audits = true_errors(rough_run, rough), 30
    options: dict[str, Any] = SMALL | {"core": 4, "n_checks": 0, "n_patches": 40}
    covered = np.zeros(3)
    for seed in range(n_audits):
        audit = audit_run(rough_run, seed=seed, **options)
        for number, window in enumerate((*audit.windows, audit.total)):
            inside = (rough_run.steps >= window.first_step) & (rough_run.steps <= window.last_step)
            covered[number] += window.mse.low <= errors[inside].mean() <= window.mse.high
    assert covered.min() >= 0.9 * n_audits
