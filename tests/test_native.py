"""Compiling the kernels: kept by sources, compiler and processor, and done without where it cannot
be.
"""

import logging

import pytest

from lattgnn import native


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """`library` without memory, with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return native.library.__wrapped__


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler")
def test_compiled_once_and_found_again(fresh, monkeypatch, tmp_path):
    small = tmp_path / "sources"
    small.mkdir()
    (small / "one.cpp").write_text('extern "C" int lattgnn_one() { return 1; }\n')
    monkeypatch.setattr(native, "SOURCES", small)
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
def test_what_does_not_compile_is_told_and_not_fatal(fresh, monkeypatch, tmp_path, caplog):
    (tmp_path / "broken.cpp").write_text("this is no C++\n")
    monkeypatch.setattr(native, "SOURCES", tmp_path)
    with caplog.at_level(logging.WARNING):
        assert fresh() is None
    assert "PyTorch is used instead" in caplog.text and "broken.cpp" in caplog.text


def test_it_can_be_switched_off(fresh, monkeypatch):
    monkeypatch.setenv("LATTGNN_NATIVE", "0")
    assert fresh() is None
