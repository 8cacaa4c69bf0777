"""Compiling the kernels: kept by sources, compiler and processor, and done without where it cannot
be.
"""

import logging
import os
from functools import partial
from pathlib import Path

import pytest

from lattgnn import native


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """`library` without memory, with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return native.library.__wrapped__


def sources_of_one(tmp_path, monkeypatch):
    """Sources that compile quickly, in place of those of the package."""
    small = tmp_path / "sources"
    small.mkdir()
    (small / "one.cpp").write_text('extern "C" int lattgnn_one() { return 1; }\n')
    monkeypatch.setattr(native, "SOURCES", small)
    monkeypatch.setattr(native, "SYMBOLS", ("lattgnn_one",))
    return small


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
def test_compiled_once_and_found_again(fresh, monkeypatch, tmp_path):
    small = sources_of_one(tmp_path, monkeypatch)
    assert fresh().lattgnn_one() == 1
    (made,) = (tmp_path / "lattgnn").iterdir()  # nothing unfinished beside it
    stamp = made.stat().st_mtime_ns
    assert fresh().lattgnn_one() == 1 and made.stat().st_mtime_ns == stamp
    (small / "one.cpp").write_text('extern "C" int lattgnn_one() { return 2; }\n')
    assert fresh().lattgnn_one() == 2
    assert len(list((tmp_path / "lattgnn").iterdir())) == 2


def test_no_compiler_no_library(fresh, monkeypatch):
    monkeypatch.setenv("CXX", "a-compiler-that-is-not-there")
    monkeypatch.setenv("PATH", "")
    assert native.compiler() is None and fresh() is None


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
def test_the_compiler_and_its_options_are_those_of_cxx(fresh, monkeypatch, tmp_path):
    sources_of_one(tmp_path, monkeypatch)
    monkeypatch.delenv("CXX", raising=False)
    assert fresh().lattgnn_one() == 1
    usual = native.compiler()
    assert usual is not None
    log = tmp_path / "calls"
    wrapper = tmp_path / "my-cxx"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {usual[0]} "$@"\n')
    wrapper.chmod(0o700)
    monkeypatch.setenv("CXX", f"{wrapper} -static-libgcc")
    assert native.compiler() == [str(wrapper), "-static-libgcc"]
    assert fresh().lattgnn_one() == 1
    # An option that changes no macro still makes another library.
    assert len(list((tmp_path / "lattgnn").iterdir())) == 2
    assert "-static-libgcc" in log.read_text() and "one.cpp" in log.read_text()


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
def test_a_compiler_that_is_not_there_is_told_once(monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler")
    native._warn_about_name.cache_clear()
    usual = native.compiler()
    assert usual is not None and native.compiler() == usual
    (record,) = caplog.records
    assert "no-such-compiler, which is not installed" in record.getMessage()
    assert f"{usual[0]} is used" in record.getMessage()


def test_a_compiler_that_fails_is_named(fresh, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("CXX", "false")
    assert fresh() is None
    (record,) = caplog.records
    assert "false failed with exit status 1" in record.getMessage()
    assert "Set CXX" in record.getMessage() and "\n" not in record.getMessage()


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
def test_what_does_not_compile_is_told_and_not_fatal(fresh, monkeypatch, tmp_path, caplog):
    (tmp_path / "broken.cpp").write_text("this is no C++\n")
    monkeypatch.setattr(native, "SOURCES", tmp_path)
    with caplog.at_level(logging.WARNING):
        assert fresh() is None
    assert "PyTorch is used instead" in caplog.text and "broken.cpp" in caplog.text


@pytest.mark.parametrize("value", ["0", "false", "False", "no", "OFF", " off "])
def test_it_can_be_switched_off(fresh, monkeypatch, value):
    monkeypatch.setenv("LATTGNN_NATIVE", value)
    assert native.is_switched_off() and fresh() is None
    for on in ("", "1", "true"):
        monkeypatch.setenv("LATTGNN_NATIVE", on)
        assert not native.is_switched_off()


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def writable_by_others(path: Path) -> None:
    path.chmod(0o666)


def replaced_by_a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize(
    "damage", [truncated, flipped, empty, writable_by_others, replaced_by_a_link]
)
def test_a_damaged_library_is_built_again(fresh, monkeypatch, tmp_path, damage, caplog):
    sources_of_one(tmp_path, monkeypatch)
    command = native.compiler()
    assert command is not None
    # Built without loading it: damage to a loaded library would end this process.
    name = f"native-{native._digest(command, *native._source_texts())}"
    build = partial(native._build_package, command)
    made = native._compiled(build, native._cache_folder(), name)
    content = made.read_bytes()
    damage(made)
    assert fresh().lattgnn_one() == 1
    assert made.read_bytes() == content and not made.is_symlink()
    assert made.stat().st_mode & 0o777 == 0o700 and not caplog.text


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("foreign", "belongs to another user"),
        ("shared", "everybody can write to"),
        ("file", "Not a directory"),
        ("relative", "is not absolute"),
        ("no home", "home directory"),
    ],
)
def test_a_cache_that_is_not_the_users_own_is_not_used(
    fresh, monkeypatch, tmp_path, place, reason, caplog
):
    sources_of_one(tmp_path, monkeypatch)
    before = set(Path(native.tempfile.gettempdir()).glob("lattgnn-*"))
    if place == "foreign":
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            pytest.skip("only root can make a folder of another user")
        (tmp_path / "lattgnn").mkdir()
        os.chown(tmp_path / "lattgnn", 54321, -1)
    elif place == "shared":
        tmp_path.chmod(0o777)
    elif place == "file":
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    elif place == "relative":
        monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", no_home)
    library = fresh()
    assert library is not None and library.lattgnn_one() == 1
    (line,) = caplog.messages
    assert reason in line and "built anew in each process" in line and "\n" not in line
    assert set(Path(native.tempfile.gettempdir()).glob("lattgnn-*")) == before


def no_home():
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
def test_a_library_without_our_functions_is_not_used(fresh, monkeypatch, tmp_path, caplog):
    sources_of_one(tmp_path, monkeypatch)
    monkeypatch.setattr(native, "SYMBOLS", ("lattgnn_one", "lattgnn_two"))
    assert fresh() is None
    assert "the library has no lattgnn_two" in caplog.text


def test_all_functions_that_the_package_calls_are_checked():
    called = set()
    for name in (
        "backends/native_plan.py",
        "backends/snapshot.py",
        "nn/scalar_layer.py",
        "solvers/chebyshev/compiled.py",
    ):
        source = (Path(native.__file__).parent / name).read_text(encoding="utf-8")
        called |= {word for word in native.SYMBOLS if word in source}
    assert called == {name for name in native.SYMBOLS if name.startswith("lattgnn_")}


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
def test_generated_code_is_generated_once(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    texts = ['extern "C" int lattgnn_two() { return 2; }']
    for _ in range(2):  # the second time the source is not asked for
        found = native.generated_library("two", texts.pop, ("lattgnn_two",))
        assert found is not None and found.lattgnn_two() == 2
    assert native.generated_library("bad", lambda: "no C++", ("lattgnn_two",)) is None
