import os

import pytest

from lattgnn.files import atomic_directory, atomic_write_text


def test_text_is_written_whole(tmp_path):
    path = tmp_path / "deep" / "metrics.json"
    atomic_write_text(path, "é")
    atomic_write_text(path, "two")
    assert path.read_text() == "two"
    assert os.listdir(path.parent) == ["metrics.json"]


def test_failed_text_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    atomic_write_text(path, "old")
    monkeypatch.setattr(os, "fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        atomic_write_text(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_directory_appears_when_it_is_full(tmp_path):
    path = tmp_path / "tasks" / "0"
    with atomic_directory(path) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "a").write_text("a")
        assert not path.exists() and folder.parent == path.parent
    assert (path / "inner" / "a").read_text() == "a"
    assert os.listdir(path.parent) == ["0"]


def test_failed_directory_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), atomic_directory(tmp_path / "a") as folder:
        (folder / "x").write_text("x")
        raise RuntimeError("stop")
    assert os.listdir(tmp_path) == []


def test_directories_are_never_overwritten(tmp_path):
    path = tmp_path / "a"
    with (
        pytest.raises(FileExistsError, match="another process in the meantime"),
        atomic_directory(path),
    ):
        path.mkdir()
        (path / "other").write_text("the other writer")
    assert os.listdir(tmp_path) == ["a"] and os.listdir(path) == ["other"]
    with pytest.raises(FileExistsError, match="already exists"), atomic_directory(path):
        pass
