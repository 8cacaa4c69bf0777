import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lattgnn.data import LatticeDataset, PublishedSnapshots, generate
from lattgnn.data.external import NAMES, similar_groups
from lattgnn.errors import InputError
from lattgnn.forcefield import ExactForceField
from lattgnn.hamiltonians import DoubleExchange, Holstein, Peierls
from lattgnn.lattice import honeycomb, square
from lattgnn.serialize import describe
from lattgnn.solvers import ExactDiagonalization

KONDO = Path(__file__).parents[1] / "golden" / "kondo_square_30x30.npz"
N_GROUPS, N_COPIES = 10, 3


@pytest.fixture(scope="module")
def exact() -> ExactForceField:
    return ExactForceField(Peierls(square(4, 6)), ExactDiagonalization(0.05, filling=0.5))


@pytest.fixture(scope="module")
def published(exact, tmp_path_factory) -> Path:
    """A file as others publish it: ten groups of three similar snapshots, total forces."""
    rng = np.random.default_rng(4)
    starts = np.repeat(rng.normal(size=(N_GROUPS, 24, 2)), N_COPIES, axis=0)
    starts *= np.tile([1, -1, 1], N_GROUPS)[:, None, None]  # the mirror image is alike
    field = 0.1 * (starts + 0.1 * rng.normal(size=starts.shape))[rng.permutation(len(starts))]
    energy, forces = exact(torch.from_numpy(field))
    path = tmp_path_factory.mktemp("published") / "peierls.npz"
    grid = (len(field), 4, 6, 2)
    np.savez(
        path,
        displacement=field.reshape(grid),
        force=forces.numpy().reshape(grid),
        energy=energy.numpy(),
    )
    return path


def dataset_of(path: Path, root: Path) -> LatticeDataset:
    """A dataset of a file with fields on a 4 × 4 lattice."""
    sources = [PublishedSnapshots("train", str(path))]
    solver = ExactDiagonalization(0.1, mu=0.0)
    options = {"root": root, "n_workers": 0, "progress": False}
    return LatticeDataset.open(generate(square(4), Holstein, solver, sources, **options))


def test_labels_are_the_electronic_part(exact, published):
    source = PublishedSnapshots("train", str(published))
    assert source.n_tasks == N_GROUPS and {
        source.n_frames_of(task) for task in range(N_GROUPS)
    } == {N_COPIES}
    frames = source.label(exact, 2, seed=0)
    energy, forces = exact.electronic(torch.from_numpy(frames.field))
    np.testing.assert_allclose(frames.forces, forces.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(frames.energy, energy.numpy(), rtol=1e-12)
    assert (frames.step == -1).all()
    total = np.load(published)["force"].reshape(-1, 24, 2)[source.groups[2]]
    assert np.abs(frames.forces - total).max() > 0.1, "the elastic part is not small"


@pytest.mark.parametrize("order", range(4))
def test_shares_are_whole_groups_and_cover_the_file_once(published, order):
    shares = [(0.0, 0.7), (0.7, 0.8), (0.8, 1.0)]
    sources = [PublishedSnapshots("train", str(published), share, order=order) for share in shares]
    frames = [np.concatenate(source.groups) for source in sources]
    assert [len(part) for part in frames] == [21, 3, 6]
    assert sorted(np.concatenate(frames)) == list(range(N_GROUPS * N_COPIES))


def test_groups_are_chains_of_like_fields():
    angles = np.deg2rad([0, 30, 60, 180, 90 + 25, 270])
    fields = (
        np.stack([np.cos(angles), np.sin(angles)], -1)[:, None, :] * np.arange(1, 7)[:, None, None]
    )
    groups = [group.tolist() for group in similar_groups(fields, np.cos(np.deg2rad(31)))]
    assert groups == [[0, 1, 2, 3, 4, 5]]  # 60° to 270° is 30°, but for the sign
    assert [g.tolist() for g in similar_groups(fields, np.cos(np.deg2rad(29)))] == [
        [0, 3],
        [1],
        [2],
        [4, 5],
    ]


def test_a_dataset_of_a_file_knows_the_file_by_its_content(exact, published, tmp_path):
    def make(path: Path, **options) -> Path:
        sources = [
            PublishedSnapshots("train", str(path), (0.0, 0.8)),
            PublishedSnapshots("test", str(path), (0.8, 1.0), **options),
        ]
        arguments = {"n_workers": 0, "progress": False, "root": tmp_path, "name": "published"}
        return generate(exact.lattice, Peierls, exact.solver, sources, **arguments)

    dataset = LatticeDataset.open(make(published))
    assert len(dataset.frames("train")) == 24 and len(dataset.trajectories("test")) == 2
    moved = tmp_path / "elsewhere.npz"
    moved.write_bytes(published.read_bytes())
    assert make(moved) == dataset.path
    arrays = dict(np.load(published))
    np.savez(moved, **(arrays | {"force": 2 * arrays["force"]}))
    assert make(moved) != dataset.path
    with pytest.raises(ValueError, match="must have sha256 ffff, got"):
        make(moved, sha256="ffff")
    assert "path" not in describe(PublishedSnapshots("test", str(moved)))["init_args"]


def test_a_source_travels_without_its_arrays(published):
    source = PublishedSnapshots("train", str(published))
    assert len(source.groups) == N_GROUPS
    data = pickle.dumps(source)
    assert len(data) < 1000 and pickle.loads(data) == source
    assert pickle.loads(data).n_tasks == N_GROUPS


def test_scalars_and_sublattices_have_their_axes(tmp_path):
    exact = ExactForceField(Holstein(honeycomb(3, 4)), ExactDiagonalization(0.1, mu=0.0))
    field = torch.randn(2, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "holstein.npz"
    np.savez(path, field=field.reshape(2, 3, 4, 2), forces=exact(field)[1].reshape(2, 3, 4, 2))
    source = PublishedSnapshots("train", str(path))
    for task in range(2):
        frames = source.label(exact, task, seed=0)
        np.testing.assert_array_equal(frames.field, field[source.groups[task]])
        np.testing.assert_allclose(
            frames.forces, exact.electronic(field[source.groups[task]])[1], atol=1e-12
        )


def test_energies_may_be_missing(exact, published, tmp_path):
    arrays = dict(np.load(published))
    path = tmp_path / "no-energy.npz"
    np.savez(
        path,
        field=arrays["displacement"].reshape(-1, 24, 2),
        forces=arrays["force"].reshape(-1, 24, 2),
    )
    frames = PublishedSnapshots("train", str(path)).label(exact, 0, seed=0)
    assert np.isnan(frames.energy).all() and np.isfinite(frames.forces).all()


def test_wrong_files_are_refused_in_one_line(exact, published, tmp_path):
    with pytest.raises(ValueError, match=r"^path must be an npz file, got '.*nowhere.npz'.*$"):
        PublishedSnapshots("train", str(tmp_path / "nowhere.npz"))
    for share in ((0.5, 0.5), (-0.1, 1.0), (0.0, 1.1)):
        with pytest.raises(ValueError, match="share must be an interval"):
            PublishedSnapshots("train", str(published), share)
    with pytest.raises(ValueError, match="share must contain at least one of the 10 groups"):
        _ = PublishedSnapshots("train", str(published), (0.0, 0.01)).n_tasks
    for extent in ((4, 4), (6, 4)):
        other = ExactForceField(Peierls(square(*extent)), exact.solver)
        with pytest.raises(
            ValueError, match=r"must have fields of shape .* Peierls .*, got \(4, 6, 2\)"
        ):
            PublishedSnapshots("train", str(published)).label(other, 0, 0)
    path = tmp_path / "wrong.npz"
    np.savez(path, displacement=np.ones((2, 24, 2)), energy=np.ones(2))
    with pytest.raises(
        ValueError, match=r"must have arrays field and forces .* \['displacement', 'energy'\]"
    ):
        PublishedSnapshots("train", str(path))
    np.savez(path, field=np.ones((2, 24, 2)), forces=np.ones((2, 24)))
    with pytest.raises(ValueError, match="must have forces shaped like the field"):
        _ = PublishedSnapshots("train", str(path)).n_tasks
    np.savez(path, field=np.ones((2, 24, 2)), forces=np.full((2, 24, 2), np.nan))
    with pytest.raises(ValueError, match="must have finite numbers only, but forces has others"):
        _ = PublishedSnapshots("train", str(path)).n_tasks


@pytest.mark.parametrize("extra", ["displacement", "spin", "force", "effective_field"])
def test_two_arrays_of_one_role_are_refused_by_name(tmp_path, extra):
    path, x = tmp_path / "two.npz", np.ones((5, 16))
    arrays: dict[str, Any] = {"field": x, "forces": x, extra: -x}
    np.savez(path, **arrays)
    first = "field" if extra in NAMES["field"] else "forces"
    with pytest.raises(ValueError, match=rf"two.npz must have one .* '{first}' and '{extra}'"):
        PublishedSnapshots("train", str(path))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"energy": np.ones((5, 1))}, r"energy of shape \(5,\), got \(5, 1\)"),
        ({"energy": np.ones(3)}, r"energy of shape \(5,\), got \(3,\)"),
        ({"energy": np.float64(1.0)}, r"energy of shape \(5,\), got \(\)"),
        ({"energy": np.arange(5).astype("M8[s]")}, r"real numbers in energy, got datetime64"),
        ({"energy": np.array(list("abcde"))}, r"real numbers in energy, got <U1"),
        ({"energy": np.array([None] * 5)}, r"numbers in energy, which cannot be read \(Object"),
        ({"energy": np.full(5, np.nan)}, "finite numbers only, but energy has others"),
        ({"field": np.ones((5, 16)) + 1j}, r"real numbers in field, got complex128"),
        ({"field": np.ones((5, 16), bool)}, r"real numbers in field, got bool"),
        ({"field": np.ones(5), "forces": np.ones(5)}, r"snapshots \[n, n_sites\] .* \(5,\)"),
        ({"field": np.ones((0, 16))}, r"snapshots \[n, n_sites\] .* \(0, 16\)"),
        ({"forces": np.ones((4, 16))}, r"forces shaped like the field, \(5, 16\), got \(4, 16\)"),
    ],
)
def test_an_array_that_is_no_label_is_named_and_writes_nothing(tmp_path, arrays, message):
    path = tmp_path / "wrong.npz"
    np.savez(path, **{"field": np.ones((5, 16)), "forces": np.ones((5, 16)), **arrays})
    with pytest.raises(ValueError, match=f"wrong.npz must have .*{message}") as error:
        dataset_of(path, tmp_path / "datasets")
    assert "\n" not in str(error.value) and not (tmp_path / "datasets").exists()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble, np.int8, np.uint16])
def test_numbers_of_any_precision_are_labels(tmp_path, dtype):
    path = tmp_path / "data.npz"
    np.savez(path, field=np.eye(16, dtype=dtype)[:5], forces=np.ones((5, 16), dtype))
    dataset = dataset_of(path, tmp_path)
    np.testing.assert_array_equal(np.sort(dataset.frames("train").field.argmax(1)), np.arange(5))


def test_an_array_that_is_not_used_is_named(tmp_path):
    path, x = tmp_path / "data.npz", np.ones((5, 16))
    np.savez(path, field=x, forces=x, energies=np.ones(5), temperature=0.1)
    with pytest.warns(UserWarning) as warned:
        PublishedSnapshots("train", str(path))
    messages = [str(warning.message) for warning in warned]
    assert len(messages) == 2 and "'energies' is not used. Did you mean 'energy'?" in messages[0]
    assert messages[1].endswith("'temperature' is not used. ")


def test_a_file_for_another_lattice_writes_nothing(tmp_path):
    path, x = tmp_path / "data.npz", np.ones((5, 25))
    np.savez(path, field=x, forces=x)
    with pytest.raises(ValueError, match=r"fields of shape \(16,\) for Holstein .* got \(25,\)"):
        dataset_of(path, tmp_path / "datasets")
    assert not (tmp_path / "datasets").exists()


def test_damaged_files_are_refused_in_one_line(published, tmp_path):
    whole, path = published.read_bytes(), tmp_path / "damaged.npz"
    damaged = [b"", b"nothing", whole[: len(whole) // 2], whole[:200] + b"x" * 200 + whole[400:]]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged.npz must") as error:
            _ = PublishedSnapshots("train", str(path)).n_tasks
        assert "\n" not in str(error.value)
    np.save(tmp_path / "one.npy", np.ones((5, 16)))
    with pytest.raises(InputError, match="got another format"):
        PublishedSnapshots("train", str(tmp_path / "one.npy"))


@pytest.mark.slow
def test_published_spins_are_recomputed():
    """Two snapshots of another program in single precision, see golden/kondo_square_30x30.md."""
    exact = ExactForceField(
        DoubleExchange(square(30), J=3.5), ExactDiagonalization(0.0, filling=0.48)
    )
    source = PublishedSnapshots("test", str(KONDO))
    assert source.n_tasks == 2
    frames = source.label(exact, 0, seed=0)
    energy, fields = exact.electronic(torch.from_numpy(frames.field))
    assert np.abs(fields.numpy() - frames.forces).max() < 5e-5
    assert np.abs(energy.numpy() - frames.energy).max() < 1e-3
