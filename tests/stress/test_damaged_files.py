"""Damaged and hostile files: the right result, or one line that says what is wrong."""

import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from lattgnn.pretrained import pretrained_path
from tests.stress.commands import Ended, run
from tests.stress.test_kills import COMMANDS, GENERATE, SIMULATE, new_folder, result

pytestmark = pytest.mark.slow


def empty(path: Path, chance: random.Random) -> None:
    """What a full disk leaves."""
    path.write_bytes(b"")


def cut(path: Path, chance: random.Random) -> None:
    """What an interrupted copy leaves."""
    content = path.read_bytes()
    path.write_bytes(content[: max(1, chance.randrange(len(content)))])


def flip(path: Path, chance: random.Random) -> None:
    """One bit that a disk got wrong."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def replace_by_text(path: Path, chance: random.Random) -> None:
    """A file of another kind under the same name."""
    path.write_text("These are not the data you are looking for.\n", encoding="utf-8")


def replace_by_folder(path: Path, chance: random.Random) -> None:
    """A folder under the name of the file."""
    path.unlink()
    path.mkdir()


def remove(path: Path, chance: random.Random) -> None:
    """A file that was lost."""
    path.unlink()


DAMAGES = (empty, cut, flip, replace_by_text, replace_by_folder, remove)


def checked(ended: Ended, verb: str, folder: Path, right: str, what: str) -> None:
    """Accept the right result or a refusal in one line."""
    if ended.code == 0:
        assert result(verb, folder) == right, f"{what}: another result, without a word"
    else:
        assert ended.is_one_line_refusal, f"{what}: exit code {ended.code}\n{ended.output}"


def damage_files(
    parent: Path, original: Path, inside: str, verb: str, n_cases: int, right: str
) -> None:
    """Damage one random file of a tree in a random way, run a command on it, and check how it ends.

    Args:
        parent: Where copies are made.
        original: The folder with the undamaged tree.
        inside: Subfolder whose files are damaged.
        verb: The command.
        n_cases: Number of damages.
        right: The result of the undamaged tree.
    """
    chance = random.Random(verb + inside)
    for number in range(n_cases):
        folder = parent / f"{verb}-{number}"
        shutil.copytree(original, folder)
        files = sorted(p for p in (folder / inside).rglob("*") if p.is_file() and p.stat().st_size)
        victim, damage = chance.choice(files), DAMAGES[number % len(DAMAGES)]
        name = f"{damage.__name__} {victim.relative_to(folder)}"
        damage(victim, chance)
        checked(run(COMMANDS[verb], folder), verb, folder, right, name)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a dataset, a fit and a run."""
    folder = new_folder(tmp_path_factory.mktemp("whole"), "work")
    for verb in ("generate", "simulate"):
        ended = run(COMMANDS[verb], folder)
        assert ended.code == 0, ended.output
    return folder


@pytest.mark.parametrize(("verb", "inside"), [("generate", "datasets"), ("simulate", "run")])
def test_a_damaged_dataset_or_run_is_refused_or_mended(verb, inside, whole, tmp_path):
    damage_files(tmp_path, whole, inside, verb, 24, result(verb, whole))


class Bomb:
    """Unpickling it would run a command."""

    def __reduce__(self) -> tuple:
        return __import__("os").mkdir, ("ran",)


def header_changes() -> dict[str, Callable[[dict], object]]:
    """Changes of a checkpoint's contents, by name."""

    def foreign_class(part: str) -> Callable[[dict], None]:
        return lambda c: c["lattgnn"][part].update(class_path="stranger.Thing")

    changes: dict[str, Callable[[dict], object]] = {
        f"foreign {part}": foreign_class(part)
        for part in ("net", "hamiltonian", "solver", "lattice")
    }
    for key in ("format_version", "net", "hamiltonian", "solver", "lattice", "versions"):
        changes[f"no {key}"] = lambda c, key=key: c["lattgnn"].pop(key)
    changes |= {
        "no header": lambda c: c.pop("lattgnn"),
        "no weights": lambda c: c.pop("state_dict"),
        "one weight less": lambda c: c["state_dict"].pop(next(iter(c["state_dict"]))),
        "one weight more": lambda c: c["state_dict"].update({"net.more": torch.zeros(1)}),
        "weights of another shape": lambda c: c["state_dict"].update(
            {next(iter(c["state_dict"])): torch.zeros(3, 1, 4)}
        ),
        "NaN weights": lambda c: [v.fill_(float("nan")) for v in c["state_dict"].values()],
        "future format": lambda c: c["lattgnn"].update(format_version=99),
        "header is a text": lambda c: c.update(lattgnn="square"),
        "net is a text": lambda c: c["lattgnn"].update(net="OrbitNetwork"),
        "negative channels": lambda c: c["lattgnn"]["net"]["init_args"].update(n_layers=-1),
        "unknown argument": lambda c: c["lattgnn"]["net"]["init_args"].update(evil=1),
    }
    return changes


def test_damaged_and_hostile_checkpoints_are_refused_in_one_line_and_run_nothing(tmp_path):
    folder = new_folder(tmp_path, "work")
    (folder / "stranger.py").write_text(
        "import pathlib; pathlib.Path('ran').touch()\nclass Thing: pass\n", encoding="utf-8"
    )
    original = pretrained_path("holstein-square-small")
    chance = random.Random("checkpoints")
    cases: dict[str, Callable[[Path], object]] = {}
    for damage in DAMAGES:
        cases[damage.__name__] = lambda path, damage=damage: damage(path, chance)
    for name, change in header_changes().items():

        def changed(path: Path, change: Callable = change) -> None:
            contents = torch.load(path, weights_only=True)
            change(contents)
            torch.save(contents, path)

        cases[name] = changed
    cases["pickle bomb"] = lambda path: path.write_bytes(pickle.dumps(Bomb()))
    cases["torch bomb"] = lambda path: torch.save({"lattgnn": Bomb()}, path)
    cases["tensor alone"] = lambda path: torch.save(torch.zeros(3), path)
    cases["list"] = lambda path: torch.save([1, 2], path)
    for name, make in cases.items():
        path = folder / "model.ckpt"
        shutil.copy(original, path)
        make(path)
        before = {p.name for p in folder.iterdir()}
        ended = run([*SIMULATE, "--force_field.checkpoint=model.ckpt"], folder)
        if name == "flip" and ended.code == 0:
            shutil.rmtree(folder / "run")  # the bit belonged to nothing that is used
        elif name != "no versions":  # it is only told, never used
            assert ended.is_one_line_refusal, f"{name}: {ended.code}\n{ended.output}"
        assert not (folder / "ran").exists(), f"{name}: code of a stranger ran"
        left = {p.name for p in folder.iterdir()} - before - {"run"}
        assert not left, f"{name} left {left}"
        shutil.rmtree(folder / "run", ignore_errors=True)
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just a text",
        "- a\n- list",
        "lattice: [",
        "a: &a [x, x]\nb: *a",
        "lattice: 3\nlattice: 4",
        "\t\tlattice: 1",
        "solver: null",
        "!!python/object/apply:os.mkdir [ran]",
        "\x00\x01\x02",
        "a: &a [0,0,0,0,0,0,0,0,0]\n"
        + "\n".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]"
                    for i in range(9)),
    ],
)  # fmt: skip
def test_configurations_that_are_none_are_refused_in_one_line(text, tmp_path):
    folder = new_folder(tmp_path, "work")
    (folder / "generate.yaml").write_text(text, encoding="utf-8")
    before = sorted(p.name for p in folder.iterdir())
    ended = run(COMMANDS["generate"], folder, limit=30)
    assert ended.is_one_line_refusal, ended.output
    assert sorted(p.name for p in folder.iterdir()) == before


def test_a_configuration_in_another_encoding_is_refused_in_one_line(tmp_path):
    folder = new_folder(tmp_path, "work")
    text = yaml.safe_dump(GENERATE | {"root": "Größe"}, allow_unicode=True)
    (folder / "generate.yaml").write_bytes(text.encode("latin-1"))
    ended = run(COMMANDS["generate"], folder)
    assert ended.is_one_line_refusal, ended.output
