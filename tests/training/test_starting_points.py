"""What a fit takes from a checkpoint: its whole state, or its weights alone."""

import importlib
import json
import sys
from functools import partial

import pytest
import torch
from torch.optim import SGD, AdamW

from lattgnn.checkpoint import load_checkpoint
from lattgnn.cli import main
from lattgnn.dynamics import Trajectory
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.nn import HiddenChannels, OrbitNetwork
from lattgnn.pretrained import pretrained_path
from lattgnn.solvers import ExactDiagonalization
from lattgnn.training import LitForceField
from lattgnn.training.optimizer_settings import optimizer_name, restore_settings

SMALL = {"hidden": {"channels": 11}, "n_layers": 5, "cutoff": 1.5}


def adam(**settings):
    optimizer = AdamW([torch.nn.Parameter(torch.zeros(2))], **settings)
    return optimizer, {
        "optimizer_states": [optimizer.state_dict()],
        "optimizer": optimizer_name(optimizer),
    }


def test_configured_settings_replace_those_of_the_checkpoint():
    _, checkpoint = adam(weight_decay=0.01, lr=0.5)
    wanted, _ = adam(weight_decay=0.5, betas=(0.8, 0.9))
    changes = restore_settings(checkpoint, wanted)
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    assert (group["weight_decay"], group["betas"], group["lr"]) == (0.5, (0.8, 0.9), 0.5)
    assert changes == [
        "betas=(0.8, 0.9) instead of (0.9, 0.999)",
        "weight_decay=0.5 instead of 0.01",
    ]
    assert restore_settings(checkpoint, wanted) == []


def test_the_state_that_an_optimizer_keeps_in_its_groups_stays():
    _, checkpoint = adam()
    checkpoint["optimizer_states"][0]["param_groups"][0]["step"] = 12
    restore_settings(checkpoint, adam(weight_decay=0.3)[0])
    assert checkpoint["optimizer_states"][0]["param_groups"][0]["step"] == 12


@pytest.mark.parametrize("has_name", [True, False])
def test_the_state_of_another_optimizer_is_refused(has_name):
    _, checkpoint = adam()
    if not has_name:  # as older checkpoints
        del checkpoint["optimizer"]
    other = SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
    with pytest.raises(ValueError, match=r"optimizer must be that of the checkpoint.*init_from"):
        restore_settings(checkpoint, other)


def test_resuming_says_which_settings_differ_from_the_checkpoint(tiny_fit, capsys):
    options = [
        f"--ckpt_path={tiny_fit.folder / 'whole/last.ckpt'}",
        "--trainer.max_epochs=3",
        "--model.optimizer=pytorch_optimizer.SOAP",
        "--model.optimizer.init_args.weight_decay=0.5",
    ]
    assert tiny_fit("fit", "decay", *options) == 0
    assert capsys.readouterr().err.count("weight_decay=0.5 instead of") == 1
    (state,) = tiny_fit.checkpoint("decay")["optimizer_states"]
    assert state["param_groups"][0]["weight_decay"] == 0.5


def test_weights_alone_start_a_new_fit(tiny_fit):
    """With rate 0 the weights stay; optimizer, epochs and parameters of the model are new."""
    options = [
        f"--model.init_from={tiny_fit.folder / 'whole/best.ckpt'}",
        "--model.lr=0.0",
        "--model.optimizer=torch.optim.AdamW",
        "--trainer.max_epochs=1",
        "--data.hamiltonian=lattgnn.hamiltonians.Holstein",
        "--data.hamiltonian.init_args.g=3.0",
    ]
    assert tiny_fit("fit", "tuned", *options) == 0
    start = tiny_fit.checkpoint("whole", "best.ckpt")["state_dict"]
    tuned = tiny_fit.checkpoint("tuned")
    assert tuned["epoch"] == 0 and tuned["lattgnn"]["hamiltonian"]["init_args"]["g"] == 3.0
    for key, value in tuned["state_dict"].items():
        if key.startswith("net."):
            assert torch.equal(value, start[key]), key


def small_network(**changes):
    arguments = {"n_layers": 5, "cutoff": 1.5, "hidden": HiddenChannels(channels=11)}
    return partial(OrbitNetwork, **arguments | changes)


def test_a_shipped_force_field_starts_a_fit():
    solver = ExactDiagonalization(kT=0.1, mu=0.0)
    name = "holstein-square-small"
    module = LitForceField(small_network(), Holstein(square(6), g=3.0), solver, init_from=name)
    stored = load_checkpoint(pretrained_path(name))["state_dict"]
    for key, value in module.net.state_dict().items():
        assert torch.equal(value, stored[f"net.{key}"]), key


@pytest.mark.parametrize(
    ("name", "network", "words"),
    [
        ("holstein-square-small", small_network(n_layers=4), "n_layers 5, not 4"),
        ("holstein-square", small_network(), "hidden.channels 24, not 11"),
        ("peierls-square", small_network(), "must be trained for lattgnn.hamiltonians.Holstein"),
        ("nowhere.ckpt", small_network(), "does not exist"),
    ],
)
def test_weights_of_another_network_are_refused_in_one_line(name, network, words):
    solver = ExactDiagonalization(kT=0.1, mu=0.0)
    with pytest.raises(ValueError, match=words) as caught:
        LitForceField(network, Holstein(square(6)), solver, init_from=name)
    assert "\n" not in str(caught.value)


def test_the_state_of_a_shipped_file_cannot_be_continued(tiny_fit, capsys):
    options = [
        "--ckpt_path=holstein-square-small",
        f"--model.net.init_args={json.dumps(SMALL)}",
    ]
    assert tiny_fit("fit", "shipped", *options) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "--model.init_from=" in message
    assert not (tiny_fit.folder / "shipped").exists()
    assert tiny_fit("test", "shipped-test", *options) == 0


def test_a_checkpoint_knows_its_training_fields_and_test_compares_them(tiny_fit, tmp_path, capsys):
    found = tiny_fit.checkpoint("whole")["lattgnn"]["field_statistics"]
    assert found["n_frames"] == 17 and list(found["periodic"]) == [True, True]
    weak = {"split": "test", "n_samples": 4, "variances": [0.01]}
    sources = [{"class_path": "lattgnn.data.RandomFields", "init_args": weak}]
    capsys.readouterr()
    assert tiny_fit("test", "whole") == 0
    assert "leave" not in capsys.readouterr().err
    # These fields are training fields of `whole`, which has the same seed: in a folder of their own
    # nothing warns of that, here or in the tests that share `whole`.
    options = [f"--data.sources={json.dumps(sources)}", f"--data.root={tmp_path}"]
    assert tiny_fit("test", "whole", *options) == 0
    message = capsys.readouterr().err
    assert message.count("the test fields leave those of the training: the mean square") == 1


@pytest.mark.slow
def test_constants_of_the_classical_energy_may_change_with_a_checkpoint(tiny_fit, capsys):
    path = tiny_fit.folder / "whole/best.ckpt"
    model = ["--data.hamiltonian=lattgnn.hamiltonians.Holstein"]
    options = [f"--ckpt_path={path}", *model, "--data.hamiltonian.init_args.k0=1.5"]
    assert tiny_fit("test", "other-k0", *options) == 0
    assert tiny_fit("test", "other-g", *options, "--data.hamiltonian.init_args.g=3") == 2
    assert "must belong to the chosen Hamiltonian" in capsys.readouterr().err
    run = tiny_fit.folder / "softer"
    simulate = [
        *("simulate", f"--force_field.checkpoint={path}", f"--out={run}", "--n_steps=2"),
        *("--lattice=lattgnn.lattice.square", "--lattice.init_args.extent=[4,4]"),
        *("--save=lattgnn.dynamics.Regular", "--save.init_args.every=1"),
        "--integrator=lattgnn.dynamics.VerletLangevin",
        "--integrator.init_args={dt: 0.05, kT: 0.1, gamma: 0.2, mass: 5.0}",
        *("--initial.seed=0", "--initial.field_std=5.27", "--progress=false"),
        "--force_field.hamiltonian=lattgnn.hamiltonians.Holstein",
        "--force_field.hamiltonian.init_args.k0=1.5",
    ]
    assert main(simulate) == 0
    stored = Trajectory.open(run).config["force_field"]["init_args"]["hamiltonian"]["init_args"]
    assert stored["k0"] == 1.5


OWN = """
from lattgnn.hamiltonians import Holstein


class Own(Holstein):
    def background_energy(self, field):
        return {factor} * super().background_energy(field)
"""


@pytest.mark.filterwarnings("default:the source of")
def test_a_fit_of_an_edited_model_is_not_continued(tiny_fit, tmp_path, monkeypatch, capsys):
    """Its weights would be trained on the labels of another model."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    run = tiny_fit.folder / "edited"
    codes = []
    for factor in (1.0, 1.01):
        (tmp_path / "own_model_to_fit.py").write_text(OWN.format(factor=factor))
        sys.modules.pop("own_model_to_fit", None)
        importlib.invalidate_caches()
        options = [
            "--data.hamiltonian=own_model_to_fit.Own",
            "--data.model_check=false",
            "--data.name=edited",
            f"--trainer.max_epochs={1 + len(codes)}",
        ]
        codes.append(tiny_fit("fit", "edited", *options))
    message = capsys.readouterr().err.splitlines()[-1]
    assert codes == [0, 2]
    assert "holds a run of other code of own_model_to_fit.Own" in message
    # Repeated in another folder, it says that it is not the same fit.
    assert main(["fit", f"--config={run / 'config.yaml'}", f"--run_dir={tmp_path / 'again'}"]) == 0
    assert "source of own_model_to_fit.Own has changed" in capsys.readouterr().err
