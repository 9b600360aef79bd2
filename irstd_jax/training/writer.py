"""What a run tells: metrics.jsonl, TensorBoard, a progress bar with the time left."""

import json
import pathlib
import sys

import tensorboardX

from irstd_jax import files, progress


class Writer:
    """A context that writes one run; a resumed run forgets the rows beyond its step.

    Args:
      workdir: of the run.
      first: step at which the run starts or goes on.
      last: step at which it will end.
      quiet: write nothing (the processes of a cluster after the first).
    """

    def __init__(self, workdir, first, last, quiet=False):
        self.quiet = quiet
        if quiet:
            return
        self.path = pathlib.Path(workdir) / "metrics.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        forget_after(self.path, first)
        self.file = self.path.open("a", encoding="utf-8")
        self.board = tensorboardX.SummaryWriter(
            str(pathlib.Path(workdir) / "tensorboard"), purge_step=first + 1
        )
        self.bar = progress.bar(total=last, initial=first, unit="step", file=sys.stdout)

    def advance(self):
        """One step more on the bar."""
        if not self.quiet:
            self.bar.update()

    def scalars(self, step, values):
        """One JSON line, with `step` among its keys, and the same to TensorBoard.

        NaN and infinities, which JSON has not, become null in the line.
        """
        if self.quiet:
            return
        self.file.write(json.dumps(files.finite({"step": step} | values)) + "\n")
        self.file.flush()
        for name, value in values.items():
            self.board.add_scalar(name, value, step)
        shown = {k: f"{v:.4g}" for k, v in values.items() if "/" not in k}
        self.bar.set_postfix(shown, refresh=False)

    def image(self, step, name, picture):
        """An (h, w, 3) uint8 picture to pictures/NAME_STEP.png and TensorBoard."""
        if self.quiet:
            return
        folder = self.path.parent / "pictures"
        files.write_image(folder / f"{name}_{step:06d}.png", picture)
        self.board.add_image(name, picture, step, dataformats="HWC")

    def say(self, text):
        """One line above the bar."""
        if not self.quiet:
            self.bar.write(text, file=sys.stdout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.quiet:
            self.bar.close()
            self.file.close()
            self.board.close()


def forget_after(path, step):
    """Rewrites metrics.jsonl without the rows of a later step or a torn last line."""
    if not path.exists():
        return
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            if line.endswith("\n") and json.loads(line)["step"] <= step:
                rows.append(line)
        except (json.JSONDecodeError, KeyError):
            continue
    files.write_text(path, "".join(rows))
