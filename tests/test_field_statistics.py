"""Statistics of training fields against plain numpy, and runs that leave their range."""

import json

import numpy as np
import pytest
import torch

from lattgnn import pretrained
from lattgnn.checkpoint import field_statistics
from lattgnn.dynamics import Regular, VerletLangevin, initial_state, simulate
from lattgnn.errors import InputError
from lattgnn.field_statistics import FieldStatistics
from lattgnn.forcefield import LearnedForceField
from lattgnn.lattice import honeycomb, square
from lattgnn.pretrained import pretrained_names, pretrained_path


@pytest.fixture
def numbers() -> np.random.Generator:
    return np.random.default_rng(0)


def test_scalar_field_against_numpy(numbers):
    fields = numbers.standard_normal((7, 48))
    found = FieldStatistics.of(fields, square(8, 6), n_components=0)
    grid = fields.reshape(7, 8, 6)
    assert found.percentiles[0] == pytest.approx(np.percentile(fields, [0, 1, 50, 99, 100]))
    blocks = (grid.reshape(7, 4, 2, 3, 2).mean((2, 4)) ** 2).mean((1, 2))
    squares = (grid**2).mean((1, 2))
    expected = [(x.min(), x.max()) for x in (squares, squares, blocks)]
    np.testing.assert_allclose(found.mean_squares, expected, rtol=1e-12)
    products = (grid * np.roll(grid, 1, 1)).mean((1, 2)) + (grid * np.roll(grid, 1, 2)).mean((1, 2))
    correlation = products / 2 / squares
    assert found.neighbor_correlation == pytest.approx((correlation.min(), correlation.max()))


def test_components_and_sublattices_against_numpy(numbers):
    lattice = honeycomb(4)
    fields = numbers.standard_normal((5, lattice.n_sites, 3))
    found = FieldStatistics.of(fields, lattice, n_components=3)
    assert len(found.percentiles) == 3
    cells = fields.reshape(5, 4, 4, 2, 3).mean(3)
    squares = (cells**2).sum(-1).mean((1, 2))
    assert found.mean_squares[1] == pytest.approx((squares.min(), squares.max()))


def test_both_signs_make_the_range_symmetric(numbers):
    fields = 1 + numbers.standard_normal((5, 16))
    low, *_, high = FieldStatistics.of(fields, square(4), 0, both_signs=True).percentiles[0]
    assert low == -high == -np.abs(fields).max()


def test_plain_data_and_back(numbers):
    found = FieldStatistics.of(numbers.standard_normal((3, 16)), square(4), 0)
    assert FieldStatistics.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(ValueError, match="field_statistics must be those of a checkpoint"):
        FieldStatistics.from_dict({"n_frames": 3})


def quantities(statistics, frames, lattice) -> dict[str, float]:
    return {d.quantity: d.fraction for d in statistics.departures(frames, lattice)}


def test_what_leaves_the_range_is_named_with_frame_and_fraction(numbers):
    lattice = square(16)
    statistics = FieldStatistics.of(numbers.standard_normal((50, 256)), lattice, 0)
    new = numbers.standard_normal((5, 256))
    assert statistics.departures(new, lattice) == []

    new[2, :4], new[4, 7] = 10.0, -20.0
    (found,) = [d for d in statistics.departures(new, lattice) if d.quantity == "the field"]
    assert (found.n_frames, found.first_frame, found.worst_frame) == (2, 2, 4)
    assert found.value == -20.0 and found.fraction == 4 / 256

    weak, uniform, staggered = 0.1 * new[0], np.ones(256), lattice.bipartite_signs
    assert quantities(statistics, [weak], lattice) == {"the mean square of the field": 1.0}
    assert "the mean square of the field averaged over 4×4 cells" in quantities(
        statistics, [uniform], lattice
    )
    for ordered in (uniform, staggered):
        correlation = "the correlation of nearest neighbors"
        assert quantities(statistics, [ordered], lattice)[correlation] == 1.0


@pytest.mark.parametrize("extent", [8, 16, 64])
def test_the_same_kind_of_field_on_any_extent_stays_in_the_range(numbers, extent):
    statistics = FieldStatistics.of(numbers.standard_normal((100, 400)), square(20), 0)
    new = numbers.standard_normal((20, extent**2))
    assert statistics.departures(new, square(extent)) == []


def test_shipped_force_fields_know_their_training_fields():
    for name in pretrained_names():
        learned = LearnedForceField.pretrained(name)
        assert learned.field_statistics is not None
        assert all(learned.field_statistics.periodic)
        assert learned.field_statistics.n_components == learned.hamiltonian.field_type.n_components
    assert field_statistics({}, "elsewhere/holstein-square.ckpt") is None


@pytest.mark.parametrize("text", [None, "{"])
def test_a_shipped_force_field_without_its_record_says_so_in_one_line(tmp_path, monkeypatch, text):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    if text is not None:
        (tmp_path / "mine.json").write_text(text)
    with pytest.raises(InputError, match=r"mine.ckpt needs its record mine.json beside it") as info:
        field_statistics({}, tmp_path / "mine.ckpt")
    assert "\n" not in str(info.value)


def test_statistics_survive_saving(tmp_path):
    learned = LearnedForceField.load(pretrained_path("holstein-square-small"))
    learned.save(tmp_path / "copy.ckpt")
    copy = LearnedForceField.load(tmp_path / "copy.ckpt")
    assert copy.field_statistics == learned.field_statistics


def quench(lattice, std, path=None, n_steps=4):
    learned = LearnedForceField.pretrained("holstein-square-small", lattice)
    state = initial_state(learned, seed=0, field_std=std, momentum_std=5.0, dtype=torch.float32)
    integrator = VerletLangevin(dt=0.05, kT=0.1, gamma=0.2, mass=5.0)
    return simulate(learned, integrator, state, n_steps, Regular(2), path)


def test_a_run_like_the_training_gives_no_warning(tmp_path):
    quench(square(16), 5.27, tmp_path / "run")
    record = json.loads((tmp_path / "run/training_range.json").read_text())
    assert (record["n_frames"], record["last_step"], record["departures"]) == (3, 4, [])


def test_a_run_of_weak_fields_gives_one_warning_and_a_record(tmp_path):
    for n_steps in (4, 4, 6):  # the second time nothing is left to do, the third time it is longer
        with pytest.warns(UserWarning, match="leaves the fields that the network") as caught:
            quench(square(16), 0.5, tmp_path / "run", n_steps)
        assert sum("leaves the fields" in str(warning.message) for warning in caught) == 1
        record = json.loads((tmp_path / "run/training_range.json").read_text())
        (found,) = record["departures"]
        assert found["quantity"] == "the mean square of the field"
        assert (found["first_frame"], found["n_frames"]) == (0, n_steps // 2 + 1)


def test_an_open_boundary_is_warned_of_at_the_start():
    with pytest.warns(UserWarning, match="open along axis 1, but the network was fitted on a per"):
        quench(square(16, periodic=(True, False)), 5.27)
