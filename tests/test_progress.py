"""irstd_jax/progress.py: bars on terminals and in logs."""

import io

from irstd_jax import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_a_line_a_picture_and_few_of_them():
    log = io.StringIO()
    assert list(progress.bar(range(1000), log, desc="evaluate")) == list(range(1000))
    text = log.getvalue()
    assert "\r" not in text and "1000/1000" in text
    assert len([line for line in text.splitlines() if line.strip()]) == 2


def test_a_bar_moves_on_a_terminal_and_sleeps_in_a_log(monkeypatch):
    """Eight steps of .7 s by a clock of our own."""
    painted = {}
    for file in (Terminal(), io.StringIO()):
        clock = iter(range(1000))
        monkeypatch.setattr("tqdm.std.time", lambda clock=clock: 0.7 * next(clock))
        with progress.bar(file=file, total=8) as bar:
            for _ in range(8):
                bar.update()
        painted[file.isatty()] = file.getvalue()
    assert "\r" in painted[True] and "\r" not in painted[False]
    assert painted[True].count("/8") > 4 > painted[False].count("/8")
