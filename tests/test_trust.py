"""A file from a stranger imports nothing but lattgnn and what the caller trusts."""

import json
import os
import shutil
import sys

import pytest
import torch

from lattgnn import cli
from lattgnn.checkpoint import load_model
from lattgnn.data import LatticeDataset, RandomFields, generate
from lattgnn.errors import InputError
from lattgnn.forcefield import LearnedForceField
from lattgnn.hamiltonians import Holstein
from lattgnn.lattice import square
from lattgnn.nn import ConvLayers
from lattgnn.pretrained import pretrained_path
from lattgnn.serialize import config_hash
from lattgnn.solvers import ExactDiagonalization
from lattgnn.trust import import_object, reading

MODULE = """
import pathlib
pathlib.Path(__file__).with_name("ran").touch()
from lattgnn.hamiltonians import Holstein as Model
from lattgnn.lattice import Lattice
from lattgnn.nn import OrbitNetwork as Net
from lattgnn.solvers import ExactDiagonalization as Solver
from torch_geometric.nn import GATv2Conv as Conv
"""
PLACES = {"lattice": "Lattice", "net": "Net", "hamiltonian": "Model", "solver": "Solver"}


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A folder with a module that leaves the file `ran` when it is imported; Python finds it."""
    (tmp_path / "stranger.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ".")
    yield tmp_path
    sys.modules.pop("stranger", None)


def checkpoint(folder, **class_paths):
    """A shipped checkpoint with other classes in its header."""
    content = torch.load(pretrained_path("holstein-square-small"), weights_only=True)
    for place, path in class_paths.items():
        content["lattgnn"][place]["class_path"] = path
    torch.save(content, folder / "model.ckpt")
    return folder / "model.ckpt"


@pytest.mark.parametrize("place", PLACES)
def test_a_checkpoint_runs_no_module(stranger, place):
    path = checkpoint(stranger, **{place: f"stranger.{PLACES[place]}"})
    with pytest.raises(InputError, match="model.ckpt: .* --trust stranger, or trust=") as error:
        LearnedForceField.load(path)
    assert "\n" not in str(error.value) and not (stranger / "ran").exists()


@pytest.mark.parametrize("trust", [True, ["stranger"], "stranger"])
def test_a_trusted_module_is_imported(stranger, trust):
    path = checkpoint(stranger, lattice="stranger.Lattice")
    force_field = LearnedForceField.load(path, trust=trust)
    assert (stranger / "ran").exists() and force_field.lattice == square(20)
    LearnedForceField.load(path)  # it is imported now, so its code has run


@pytest.mark.parametrize("trust", [["strange"], ["stranger.sub"], [], False])
def test_trust_goes_by_whole_names(stranger, trust):
    with pytest.raises(InputError, match="--trust stranger"):
        load_model(checkpoint(stranger, solver="stranger.Solver"), trust=trust)


@pytest.mark.parametrize(
    "path",
    ["antigravity.Lattice", "this.s", "idlelib.run.Lattice", "lattgnn.__main__.main"],
)
def test_modules_of_the_standard_library_are_not_imported_either(stranger, path):
    before = set(sys.modules)
    with pytest.raises(InputError, match="is in a module that is not part of lattgnn"):
        load_model(checkpoint(stranger, lattice=path))
    assert path.rpartition(".")[0] not in set(sys.modules) - before


def test_layers_of_a_network_are_imported_under_the_same_rule(stranger):
    with reading("model.ckpt"), pytest.raises(InputError, match="--trust stranger"):
        ConvLayers("stranger.Conv").conv_class()
    assert not (stranger / "ran").exists()
    with reading("model.ckpt"):
        ConvLayers("torch_geometric.nn.GATv2Conv").conv_class()
    # Without a file the name is the user's own.
    assert ConvLayers("stranger.Conv").conv_class().__name__ == "GATv2Conv"


def test_folders_of_pythonpath_are_the_users_own(tmp_path, stranger, monkeypatch):
    """... but not the working directory, where an archive may have been unpacked."""
    for python_path in (".", "", str(stranger)):
        monkeypatch.setenv("PYTHONPATH", python_path)
        with reading("a file"), pytest.raises(InputError):
            import_object("stranger.Lattice")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "other"), str(stranger)]))
    with reading("a file"):
        import_object("stranger.Lattice")


def test_a_module_that_hides_one_of_pythonpath_is_not_trusted(tmp_path, stranger, monkeypatch):
    own = tmp_path / "own"
    own.mkdir()
    shutil.copy(stranger / "stranger.py", own)
    monkeypatch.setenv("PYTHONPATH", str(own))  # Python finds the other file first
    with reading("a file"), pytest.raises(InputError):
        import_object("stranger.Lattice")


def test_a_dataset_runs_no_module(stranger):
    sources = [RandomFields("train", n_samples=1)]
    solver = ExactDiagonalization(0.1, mu=0.0)
    made = generate(square(4), Holstein, solver, sources, 0, stranger, "x", 0, progress=False)
    manifest = json.loads((made / "manifest.json").read_text())
    manifest["config"]["hamiltonian"]["class_path"] = "stranger.Model"
    manifest["hash"] = config_hash(manifest["config"])
    forged = made.rename(made.with_name(f"x-{manifest['hash']}"))
    (forged / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="manifest.json: .*--trust stranger"):
        LatticeDataset.open(forged)
    assert not (stranger / "ran").exists()
    opened = LatticeDataset.open(forged, trust=["stranger"])
    assert isinstance(opened.hamiltonian, Holstein) and (stranger / "ran").exists()


def test_what_cannot_be_built_is_one_line_that_names_the_file(tmp_path):
    content = torch.load(pretrained_path("holstein-square-small"), weights_only=True)
    damage = {
        "lattice": {"primitive_vectors": 3},
        "solver": {"kT": "warm"},
        "net": {"n_layers": []},
    }
    for place, arguments in damage.items():
        header = {**content["lattgnn"][place]}
        header["init_args"] = header["init_args"] | arguments
        torch.save(content | {"lattgnn": content["lattgnn"] | {place: header}}, tmp_path / "a.ckpt")
        with pytest.raises(InputError, match="a.ckpt"):
            LearnedForceField.load(tmp_path / "a.ckpt")


@pytest.mark.parametrize("option", ["--trust", "--import"])
def test_the_command_line_trusts_by_name(stranger, capsys, option):
    checkpoint(stranger, lattice="stranger.Lattice")
    command = ["export", "model.ckpt", "--out=model.pt2"]
    assert cli.main(command) == 2
    assert "use --trust stranger" in capsys.readouterr().err and not (stranger / "ran").exists()
    assert cli.main([*command, f"{option}=no_such_module"]) == 2
    assert "No module named 'no_such_module'" in capsys.readouterr().err
    assert cli.main([*command, option, "stranger.py"]) == 2
    assert "stranger.py" in capsys.readouterr().err and not (stranger / "ran").exists()
    # Every verb has the options. This one is quick.
    assert cli.main(["lattice", "square", "--cutoff=1", option, "stranger"]) == 0
    assert (stranger / "ran").exists()


def test_an_imported_module_may_be_named_in_a_configuration(tmp_path, monkeypatch, capsys):
    """Python does not look into the working directory by itself; --import does."""
    (tmp_path / "lattices_of_mine.py").write_text(
        "from lattgnn.lattice import Lattice, square\n"
        "def small(n: int) -> Lattice:\n    return square(n)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    sources = '[{"class_path": "RandomFields", "init_args": {"split": "train", "n_samples": 1}}]'
    command = [
        *("generate", "--lattice.class_path=lattices_of_mine.small", "--lattice.init_args.n=4"),
        *("--hamiltonian=lattgnn.hamiltonians.Holstein", f"--sources={sources}", "--n_workers=0"),
        *("--solver=ExactDiagonalization", "--solver.init_args.kT=0.1", "--solver.init_args.mu=0"),
    ]
    with pytest.raises(SystemExit) as stop:
        cli.main(command)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and "use --import lattices_of_mine in its directory" in error
    assert cli.main([*command, "--import", "lattices_of_mine"]) == 0
    assert capsys.readouterr().out.startswith("datasets/holstein-square-")
    sys.modules.pop("lattices_of_mine")
