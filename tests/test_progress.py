from lattgnn.progress import progress_bar


def test_lines_where_there_is_no_terminal(capsys):
    with progress_bar(20, 10, True, name="label", unit="labels", weight=3) as show:
        show(15)  # too early for a line
        show(20)
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("label 20/20, ") and line.endswith(" labels/s, 0 s left")


def test_lines_have_the_time_left(capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    with progress_bar(100, 0, True, weight=4) as show:
        for step in range(1, 26):
            now = float(step)
            show(step)
    assert capsys.readouterr().err.splitlines() == [
        "step 10/100, 4 site-steps/s, 90 s left",
        "step 20/100, 4 site-steps/s, 80 s left",
    ]


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    with progress_bar(20, 0, True, name="label", unit="labels") as show:
        show(20)
    err = capsys.readouterr().err
    assert "label 20/20" in err and "labels/s" in err and "\x1b" in err


def test_nothing_unless_enabled(capsys):
    with progress_bar(20, 0, False) as show:
        show(20)
    assert capsys.readouterr() == ("", "")
