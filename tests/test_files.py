import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lattgnn import files
from lattgnn.files import atomic_directory, atomic_write_text, run_lock


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


def test_a_run_has_one_writer_in_every_spelling_of_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    where = f"process {os.getpid()} on {socket.gethostname()}"
    with run_lock(tmp_path / "run"):
        (tmp_path / "run").mkdir()
        for path in ("run", "./run", "run/../run", tmp_path / "run"):
            with pytest.raises(ValueError, match=f"is being written by {where}"), run_lock(path):
                pass
        monkeypatch.chdir(tmp_path / "run")
        with pytest.raises(ValueError, match=where), run_lock("."):
            pass
        with run_lock(tmp_path / "other"):
            pass
    with run_lock("."):
        pass
    assert os.listdir(tmp_path) == ["run"] and not os.listdir(tmp_path / "run")


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    program = (
        "import sys, time\nfrom lattgnn.files import run_lock\n"
        "with run_lock(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with (
            pytest.raises(ValueError, match=f"process {process.pid} on"),
            run_lock(tmp_path / "run"),
        ):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert os.listdir(tmp_path) == [".run.lock"]  # left over, and locks nothing
    with run_lock(tmp_path / "run"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_lock_file_that_its_holder_removes_meanwhile_is_made_anew(tmp_path, monkeypatch):
    lock, attempts = tmp_path / ".run.lock", []

    def removed_once(descriptor, blocking):
        attempts.append(descriptor)
        if len(attempts) == 1:
            lock.unlink()  # as the previous holder does between our opening and our locking
        return True

    monkeypatch.setattr(files, "lock_descriptor", removed_once)
    with run_lock(tmp_path / "run"):
        assert lock.exists() and len(attempts) == 2


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def no_locks(descriptor, blocking):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(files, "lock_descriptor", no_locks)
    with pytest.warns(UserWarning, match="has no locks"), run_lock(tmp_path / "run"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_lock_lies_in_the_run_where_its_parent_is_read_only(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with run_lock(run):
        assert os.listdir(run) == [".run.lock"]
    assert os.listdir(run) == [] and os.listdir(tmp_path) == ["run"]


def test_a_file_of_the_user_is_not_used_as_a_lock(tmp_path):
    lock = tmp_path / ".run.lock"
    lock.write_text("packages = []")
    with pytest.raises(ValueError, match="was not written by lattgnn"), run_lock(tmp_path / "run"):
        pass
    assert lock.read_text() == "packages = []"
