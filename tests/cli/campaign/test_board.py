"""What is shown while a campaign runs."""

import io

from rich.console import Console

from lattgnn.cli.campaign.board import Board

VERBS = {"a": "simulate", "b": "simulate", "c": "simulate", "d": "analyze"}


def test_the_time_left_is_the_mean_time_of_each_verb_over_the_workers():
    board = Board(VERBS, done=[])
    board.n_workers = 2
    board.start("a")
    # Nothing has finished yet.
    assert board.seconds_left() is None and board.time_left() == "unknown time"
    board.end("a", "done", 10.0)
    board.end("b", "done", 20.0)
    assert board.seconds_left() == 15.0 / 2
    assert board.time_left() == "at least 0:00:08"  # no analysis has finished yet
    board.end("d", "done", 4.0)
    assert board.seconds_left() == 15.0 / 2 and board.time_left() == "0:00:08"
    board.end("c", "failed", 1.0)
    assert board.seconds_left() == 0.0 and board.left() == 0


def test_states_are_counted_in_a_line_and_in_a_table():
    board = Board(VERBS, done=["a"])
    board.start("b")
    board.start("a")  # a late message does not undo the end of a task
    board.end("c", "failed")
    board.end("d", "skipped")
    assert board.line() == (
        "4 tasks: 1 done, 1 running, 1 failed, 1 skipped, 0 waiting; unknown time left"
    )
    printed = io.StringIO()
    Console(file=printed, width=100).print(board.table())
    rows = [line.split() for line in printed.getvalue().splitlines()]
    assert ["│", "simulate", *"│ 1 │ 1 │ 1 │ 0 │ 0 │ – │".split()] in rows


def test_a_log_gets_a_line_for_each_failure_and_for_the_end(capsys):
    board = Board({"a": "simulate", "b": "simulate", "c": "simulate"}, done=[])
    with board.shown(True):
        board.end("a", "done", 1.0)
        board.end("b", "failed", 1.0)
        board.end("c", "done", 1.0)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "1 failed, 0 skipped, 1 waiting" in lines[0] and "0 waiting" in lines[1]
    quiet = Board({"a": "simulate"}, done=[])
    with quiet.shown(False):
        quiet.end("a", "failed")
    assert capsys.readouterr().err == ""
