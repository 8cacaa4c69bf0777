"""Headers of checkpoints: version 2 is upgraded, and whatever is broken is one line."""

import pickle
from pathlib import Path

import pytest
import torch

import lattgnn
from lattgnn.checkpoint import (
    FORMAT_VERSION,
    load_checkpoint,
    load_model,
    read_header,
)
from lattgnn.errors import InputError
from lattgnn.hamiltonians import Hamiltonian
from lattgnn.lattice import Lattice
from lattgnn.nn import ForceNetwork
from lattgnn.pretrained import find_checkpoint, pretrained_path
from lattgnn.serialize import build, describe

SHIPPED = sorted((Path(lattgnn.__file__).parent / "pretrained").glob("*.ckpt"))
# Written before the format had version 3. The last one was the network of spins kondo-square.
OLDER = [path for path in SHIPPED if not path.stem.endswith(("-triangular", "kondo-square"))]
OLDER.append(Path(__file__).parent / "golden/spins_version_2.ckpt")


@pytest.mark.parametrize("path", OLDER, ids=lambda path: path.stem)
def test_headers_of_version_2_are_upgraded(path):
    checkpoint = load_checkpoint(path)
    old, header = checkpoint["lattgnn"], read_header(checkpoint)
    assert old["format_version"] == 2 and header["format_version"] == FORMAT_VERSION == 3
    lattice = build(header["lattice"], Lattice)
    net = build(header["net"], ForceNetwork, lattice)
    assert net.field_type == build(header["hamiltonian"], Hamiltonian, lattice).field_type
    assert describe(net) == header["net"]
    before, hidden = old["net"]["init_args"], header["net"]["init_args"]["hidden"]["init_args"]
    assert hidden["channels"] == before["channels"]
    assert hidden["representation"] == before["hidden"]
    weights = {key.removeprefix("net.") for key in checkpoint["state_dict"]}
    assert set(net.state_dict()) <= weights


def damaged(folder: Path) -> dict[str, tuple[Path, str]]:
    """Broken and foreign files by kind, each with a part of its message."""
    good = SHIPPED[0].read_bytes()
    content = load_checkpoint(SHIPPED[0])

    def changed(name: str, part: str | None = None, **header) -> Path:
        new = {**content, "lattgnn": {**content["lattgnn"], **header}}
        if part is not None:
            del new["lattgnn"][part]
        torch.save(new, folder / name)
        return folder / name

    def raw(name: str, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    def saved(name: str, thing) -> Path:
        torch.save(thing, folder / name)
        return folder / name

    weights = dict(content["state_dict"])
    first = next(key for key in weights if key.startswith("net."))
    fewer = {key: value for key, value in weights.items() if key != first}
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    return {
        "empty": (raw("empty.ckpt", b""), "cannot be read"),
        "half": (raw("half.ckpt", good[: len(good) // 2]), "cannot be read"),
        "one flipped bit": (raw("flipped.ckpt", bytes(flipped)), "cannot be read"),
        "text": (raw("text.ckpt", b"n_steps: 3\n"), "cannot be read"),
        "pickle": (raw("pickle.ckpt", pickle.dumps(Bomb())), "cannot be read"),
        "pickle by torch": (saved("bomb.ckpt", {"lattgnn": Bomb()}), "cannot be read"),
        "folder": (folder, "is a directory"),
        "missing": (folder / "none.ckpt", "does not exist"),
        "tensor": (saved("tensor.ckpt", torch.zeros(3)), "without its header"),
        "list": (saved("list.ckpt", [1, 2]), "without its header"),
        "no header": (saved("none.ckpt.2", {"state_dict": weights}), "without its header"),
        "header of text": (saved("words.ckpt", {"lattgnn": "3"}), "without its header"),
        "version 1": (changed("one.ckpt", "versions", format_version=1), "version 3, got 1"),
        "a later version": (changed("later.ckpt", format_version=99), "version 3, got 99"),
        "no version": (changed("no_version.ckpt", "format_version"), "version 3, got None"),
        "no net": (changed("no_net.ckpt", "net"), "got one without net"),
        "no lattice": (changed("no_lattice.ckpt", "lattice"), "got one without lattice"),
        "net of text": (changed("net.ckpt", net="OrbitNetwork"), "got one without net"),
        "empty net": (changed("empty_net.ckpt", net={}), "empty_net.ckpt"),
        "unknown class": (
            changed("class.ckpt", solver={"class_path": "lattgnn.solvers.Nothing"}),
            "cannot be imported",
        ),
        "wrong class": (
            changed("kind.ckpt", solver={"class_path": "lattgnn.lattice.Lattice"}),
            "must name a Solver",
        ),
        "no weights": (saved("w0.ckpt", {"lattgnn": content["lattgnn"]}), "missing: net."),
        "a weight is missing": (saved("w1.ckpt", {**content, "state_dict": fewer}), first),
        "an extra weight": (
            saved("w2.ckpt", {**content, "state_dict": {**weights, "net.more": torch.ones(1)}}),
            "unexpected: net.more",
        ),
        "another shape": (
            saved("w3.ckpt", {**content, "state_dict": {**weights, first: torch.ones(7, 7, 7)}}),
            f"of another shape: {first}",
        ),
        "no tensor": (
            saved("w4.ckpt", {**content, "state_dict": {**weights, first: "one"}}),
            f"missing: {first}",
        ),
    }


class Bomb:
    """An object that leaves a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


def test_broken_and_foreign_checkpoints_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind, (path, part) in damaged(tmp_path).items():
        with pytest.raises(InputError) as error:
            load_model(path)
        message = str(error.value)
        assert part in message and str(path) in message and "\n" not in message, (kind, message)
        assert len(message) < 500, (kind, message)
    assert not (tmp_path / "exploded").exists()


def test_a_shipped_name_is_no_path(tmp_path, monkeypatch):
    """A folder of that name hides nothing; a file, and whatever has a separator, is a path."""
    monkeypatch.chdir(tmp_path)
    name = "holstein-square-small"
    (tmp_path / name).mkdir()
    assert find_checkpoint(name) == pretrained_path(name)
    for path in (f"./{name}", f"runs/{name}", f"{name}.ckpt", tmp_path / name):
        assert find_checkpoint(path) == Path(path)
    (tmp_path / name).rmdir()
    (tmp_path / name).touch()
    assert find_checkpoint(name) == Path(name)
    with pytest.raises(InputError, match="For a file, give its path"):
        find_checkpoint("holstein")
