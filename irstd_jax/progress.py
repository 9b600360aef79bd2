"""Progress bars with the time left: moving on a terminal, now and then in a log."""

import sys

from tqdm import tqdm

SECONDS = {True: 1.0, False: 30.0}  # between two pictures of a bar; on a terminal, not


def bar(iterable=None, file=None, **fields):
    """A tqdm bar to `file`, by default the error stream.

    A log file would keep every picture of a moving bar; it gets a line of its own for
    one each 30 seconds.

    Args:
      iterable: what is counted, or None: the caller calls `update`.
      fields: of tqdm: total, initial, unit, desc.
    """
    file = sys.stderr if file is None else file
    notebook = type(file).__module__.startswith("ipykernel")
    moving = notebook or file.isatty()
    return tqdm(
        iterable,
        file=file if moving else Lines(file),
        mininterval=SECONDS[moving],
        dynamic_ncols=moving,
        **fields,
    )


class Lines:
    """A text stream that begins a new line where a terminal's cursor would go back."""

    def __init__(self, file):
        self.file = file

    def write(self, text):
        self.file.write(text.replace("\r", "\n"))

    def flush(self):
        self.file.flush()
