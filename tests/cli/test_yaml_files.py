"""What the command line reads: UTF-8 in every locale, no key twice, no bombs of aliases."""

import locale
import os
import subprocess
import sys

import pytest
from jsonargparse import Path
from yaml import YAMLError

from lattgnn import cli
from lattgnn.cli.yaml_files import checked_load, read_text


def bomb(levels: int) -> str:
    """YAML in which each line repeats the line before ten times."""
    lines = ["a0: &a0 [" + ", ".join("x" * 10) + "]"]
    for n in range(1, levels):
        lines.append(f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("n_steps: 3\nout: a\nn_steps: 4", "the key 'n_steps' twice; .* (line 3, column 1)"),
        ("save: {every: 1, every: 2}", "the key 'every' twice"),
        ("- {a: {b: 1, c: 2, b: 3}}", "the key 'b' twice"),
        (bomb(5), "more than 100000 values"),
        (bomb(30), "more than 100000 values"),
        ("a: &a [1, *a]", "an alias that contains itself"),
        ("a: " + "[" * 5000 + "]" * 5000, "nest"),
    ],
)
def test_yaml_that_says_something_twice_or_endlessly_is_refused(text, part):
    with pytest.raises(YAMLError, match=part.replace("(", r"\(").replace(")", r"\)")):
        checked_load(text)


def test_aliases_and_merged_keys_are_allowed():
    text = "base: &base {a: 1, b: 2}\nfirst: {<<: *base, b: 3}\nsecond: *base"
    found = checked_load(text)
    assert found["first"] == {"a": 1, "b": 3} and found["second"] == {"a": 1, "b": 2}
    assert checked_load(bomb(3))["a2"][9][9][9] == "x"
    assert checked_load("") is None and checked_load("1e-3") == 0.001


@pytest.mark.parametrize("of_locale", ["utf-8", "latin-1", "ascii", "gbk", "cp1252"])
def test_files_are_utf8_in_every_locale(tmp_path, monkeypatch, of_locale):
    monkeypatch.setattr(locale, "getpreferredencoding", lambda do_setlocale=True: of_locale)
    path = tmp_path / "a.yaml"
    for content in ("out: Größe á 磁", "out: plain", "\ufeffout: Größe"):
        path.write_text(content, encoding="utf-8")
        assert read_text(Path(str(path))) == content.lstrip("\ufeff")


def test_a_file_in_the_users_own_encoding_is_read_or_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.yaml"
    path.write_bytes("out: Größe".encode("latin-1"))
    with pytest.raises(TypeError, match="a.yaml must be a text in UTF-8"):
        read_text(Path(str(path)))
    monkeypatch.setattr(locale, "getpreferredencoding", lambda do_setlocale=True: "latin-1")
    assert read_text(Path(str(path))) == "out: Größe"


@pytest.mark.parametrize("option", ["--config={}", "--lattice={}"])
@pytest.mark.parametrize(
    "content", [b"out: Gr\xf6\xdfe", bomb(8).encode(), b"a: 1\na: 2", b"", b"3"]
)
def test_a_bad_file_is_one_line(tmp_path, capsys, option, content):
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        cli.main(["generate", option.format(tmp_path / "bad.yaml"), f"--root={tmp_path}"])
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == "" and err.count("\n") == 1, err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


@pytest.mark.slow
def test_every_verb_speaks_to_a_terminal_without_greek(tmp_path):
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for arguments in (["generate", "--help"], ["lattice", "kagome"], ["fit", "--threads=0"]):
        done = subprocess.run(
            [sys.executable, "-m", "lattgnn", *arguments], env=environment, capture_output=True
        )
        assert done.returncode == (2 if "fit" in arguments else 0), done.stderr
        assert b"Traceback" not in done.stderr
