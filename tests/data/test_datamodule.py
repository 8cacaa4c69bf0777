from functools import partial
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

from lattgnn.data import LatticeDataModule, RandomFields
from lattgnn.data.batches import Batches
from lattgnn.errors import InputError
from lattgnn.hamiltonians import Holstein, Peierls
from lattgnn.lattice import square
from lattgnn.solvers import ExactDiagonalization


class Linear(L.LightningModule):
    """The smallest module that can be fitted; remembers the frames it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(()))
        self.seen: list[list[float]] = []

    def training_step(self, batch, index):
        self.seen.append(batch["energy"].tolist())
        return ((self.gain * batch["field"].tanh() - batch["forces"]) ** 2).mean()

    validation_step = test_step = predict_step = training_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveAt(L.Callback):
    """Saves a checkpoint after a given number of steps."""

    def __init__(self, step: int, path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.fixture
def data(made, recipe) -> LatticeDataModule:
    """The datamodule of a dataset that exists."""
    return LatticeDataModule(**recipe, root=made.parent, batch_size=4)


def trainer(tmp_path, **options) -> L.Trainer:
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    quiet |= {"accelerator": "cpu", "enable_checkpointing": False}
    return L.Trainer(default_root_dir=tmp_path, **quiet | options)


def test_fit_validate_test_predict_in_one_go(data, tmp_path):
    run, module = trainer(tmp_path, max_epochs=2), Linear()
    run.fit(module, data)
    assert run.global_step == 2 * (17 // 4)
    run.test(module, data, verbose=False)
    assert len(run.predict(module, data) or []) == 1


def test_prepare_data_makes_what_is_missing(recipe, tmp_path):
    sources = [RandomFields(split, n_samples=3) for split in ("train", "val")]
    data = LatticeDataModule(**recipe | {"sources": sources}, root=tmp_path, batch_size=2)
    assert not data.path.exists()
    data.prepare_data()
    data.setup("fit")
    assert data.dataset.path == data.path
    assert next(iter(data.train_dataloader()))["field"].shape == (2, 36)


def test_attributes(data):
    assert data.lattice == square(6)
    assert data.hamiltonian == Holstein(square(6))
    data.setup()
    frames = data.dataset.frames("train")
    assert data.train_statistics.n_frames == 17
    assert data.train_statistics.field_std == pytest.approx(frames.field.std())
    assert data.train_statistics.energy_mean == pytest.approx(frames.energy.mean() / 36)


def test_batch_has_the_contracted_keys(data):
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    shapes = {name: tuple(tensor.shape) for name, tensor in batch.items()}
    assert shapes == {
        "field": (7, 36),
        "forces": (7, 36),
        "energy": (7,),
        "step": (7,),
        "window": (7,),
    }
    assert batch["field"].dtype == batch["energy"].dtype == torch.float32
    assert batch["step"].tolist()[-3:] == [-1, -1, -1] and batch["window"].tolist() == [
        0,
        0,
        0,
        0,
        5,
        5,
        5,
    ]


def test_float64_is_the_file(made, recipe):
    data = LatticeDataModule(**recipe, root=made.parent, dtype="float64")
    data.setup("test")
    assert torch.equal(
        data.test_dataloader().tensors["forces"],
        torch.from_numpy(data.dataset.frames("test").forces),
    )


def test_setup_loads_the_splits_of_its_stage(data):
    data.setup("test")
    with pytest.raises(ValueError, match="no source has split 'train'"):
        data.train_dataloader()


def test_fit_without_validation(recipe, tmp_path):
    data = LatticeDataModule(
        **recipe | {"sources": [RandomFields("train", n_samples=4)]}, root=tmp_path, batch_size=2
    )
    trainer(tmp_path, max_epochs=1, limit_val_batches=0).fit(Linear(), data)
    with pytest.raises(ValueError, match="no source has split 'val'.*limit_val_batches"):
        trainer(tmp_path, max_epochs=1).fit(Linear(), data)


def test_a_fit_of_labels_at_fixed_filling_is_refused_if_labels_at_fixed_mu_would_do(
    recipe, tmp_path
):
    sources = [RandomFields(split, n_samples=2) for split in ("train", "test")]
    filled = recipe | {"sources": sources, "solver": ExactDiagonalization(0.1, filling=0.4)}
    settings = {"root": tmp_path, "batch_size": 1}
    run = trainer(tmp_path, max_epochs=1, limit_val_batches=0)
    with pytest.raises(InputError, match="fixed mu .*force_field.filling.*fixed_filling=true"):
        run.fit(Linear(), LatticeDataModule(**filled, **settings))
    assert not list(tmp_path.iterdir())  # before any label is made
    run.test(Linear(), LatticeDataModule(**filled, **settings), verbose=False)
    run.fit(Linear(), LatticeDataModule(**filled, **settings, fixed_filling=True))


def test_a_fit_of_labels_at_fixed_filling_warns_if_the_field_cannot_take_the_place_of_mu(
    recipe, tmp_path, caplog
):
    filled = {"hamiltonian": Peierls, "solver": ExactDiagonalization(0.1, filling=0.5)}
    filled |= {"sources": [RandomFields("train", n_samples=2)]}
    data = LatticeDataModule(**recipe | filled, root=tmp_path, batch_size=1)
    trainer(tmp_path, max_epochs=1, limit_val_batches=0).fit(Linear(), data)
    assert "Labels at fixed filling: mu depends on the whole field" in caplog.text


@pytest.mark.parametrize("n_before", [3, 4, 6])
def test_resume_continues_with_the_next_batch(data, tmp_path, n_before):
    whole, resumed = Linear(), Linear()
    path = tmp_path / "mid.ckpt"
    options = {"max_epochs": 3, "num_sanity_val_steps": 0}
    trainer(tmp_path, **options, callbacks=[SaveAt(n_before, path)]).fit(whole, data)
    trainer(tmp_path, **options).fit(resumed, data, ckpt_path=path, weights_only=True)
    assert torch.equal(resumed.gain, whole.gain)
    assert resumed.seen == whole.seen[-len(resumed.seen) :] != []


def batches(batch_size: int = 4, **options) -> Batches:
    return Batches({"x": torch.arange(23)}, batch_size, **options)


def frames_of(loader: Batches) -> list[list[int]]:
    return [batch["x"].tolist() for batch in loader]


def test_epochs_are_permutations_fixed_by_the_seed():
    first = batches(shuffle=True)
    epochs = [torch.cat([batch["x"] for batch in first]).tolist() for _ in range(2)]
    assert epochs[0] != epochs[1] and all(len(set(epoch)) == 20 for epoch in epochs)
    again = batches(shuffle=True)
    again.set_epoch(1)
    assert torch.cat([batch["x"] for batch in again]).tolist() == epochs[1]
    other = torch.cat([batch["x"] for batch in batches(shuffle=True, seed=1)]).tolist()
    assert other != epochs[0]


def test_evaluation_sees_every_frame_once_in_order():
    loader = batches()
    assert len(loader) == 6
    assert torch.cat([batch["x"] for batch in loader]).tolist() == list(range(23))


@pytest.mark.parametrize("batch_size", [4, 6])
@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("shuffle", [True, False])
def test_ranks_share_each_batch_of_one_process(shuffle, world_size, batch_size):
    whole = frames_of(batches(batch_size, shuffle=shuffle))
    ranks = [
        frames_of(batches(batch_size, shuffle=shuffle, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert {len(shares) for shares in ranks} == {len(whole)}
    for batch, *shares in zip(whole, *ranks, strict=True):
        assert sorted(sum(shares, [])) == sorted(batch)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_rank_without_a_frame_to_evaluate_has_an_empty_batch():
    loader = Batches({"x": torch.arange(2)}, 64, rank=2, world_size=3)
    assert [batch["x"].tolist() for batch in loader] == [[]]


def test_another_number_of_ranks_continues_with_the_same_frames():
    two = batches(6, shuffle=True, world_size=2)
    next(iter(two))
    resumed = [batches(6, shuffle=True, rank=rank, world_size=3) for rank in range(3)]
    for loader in resumed:
        loader.load_state_dict(two.state_dict())
    found = [
        sorted(sum(map(list, shares), [])) for shares in zip(*map(frames_of, resumed), strict=True)
    ]
    assert found == [sorted(batch) for batch in frames_of(batches(6, shuffle=True))[1:]]


def test_state_resumes_within_an_epoch():
    whole = [batch["x"].tolist() for batch in batches(shuffle=True)]
    loader = batches(shuffle=True)
    served = iter(loader)
    for _ in range(2):
        next(served)
    resumed = batches(shuffle=True)
    resumed.load_state_dict(loader.state_dict())
    assert [batch["x"].tolist() for batch in resumed] == whole[2:]
    assert len(list(resumed)) == len(whole)  # the next epoch is whole again


def test_iteration_left_early_starts_afresh():
    loader = batches()
    first = next(iter(loader))["x"]
    assert torch.equal(next(iter(loader))["x"], first)


def test_too_large_batches_are_refused():
    with pytest.raises(ValueError, match="batch_size must be at most the 23 frames, got 24"):
        batches(shuffle=True, batch_size=24, world_size=2)


def test_batches_too_small_to_be_shared_are_refused():
    with pytest.raises(ValueError, match="at least the number of processes, 5, .* got 4"):
        batches(shuffle=True, batch_size=4, world_size=5)


def test_wrong_batch_size_is_refused(recipe):
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        LatticeDataModule(**recipe, batch_size=0)


@pytest.mark.parametrize(
    ("extent", "sizes"), [(6, (8, 64)), (20, (8, 64)), (30, (3, 28)), (90, (1, 3))]
)
def test_batches_of_large_lattices_have_no_more_sites(extent, sizes, recipe, tmp_path):
    data = LatticeDataModule(**recipe | {"lattice": square(extent)}, root=tmp_path)
    assert (data.batch_size, data.eval_batch_size) == sizes
    assert LatticeDataModule(**recipe, root=tmp_path, batch_size=5).batch_size == 5


def test_hamiltonian_may_be_a_class(recipe, tmp_path):
    data = LatticeDataModule(**recipe | {"hamiltonian": Holstein}, root=tmp_path)
    same = LatticeDataModule(**recipe | {"hamiltonian": partial(Holstein, g=3.5)}, root=tmp_path)
    assert data.path == same.path


def test_one_process_makes_the_labels_of_all_nodes(data):
    assert data.prepare_data_per_node is False
