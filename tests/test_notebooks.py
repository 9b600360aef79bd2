"""The notebooks: committed clean, and executed whole at toy size by our own kernel."""

import json
import math
import pathlib
import re

import nbformat
import pytest
from ipykernel import kernelspec
from nbclient import NotebookClient

from irstd_jax import platform

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
NAMES = (
    "01_quickstart",
    "02_the_diffusion_process",
    "03_diff_mosaic",
    "04_results",
)
ABSOLUTE = re.compile(r"""["'\s=(](/[a-z]+/|~/|[A-Z]:\\)""")
ADDRESS = re.compile(r"https?://")


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def codes(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A kernel of this very interpreter, at toy size, that writes below tmp_path."""
    kernelspec.install(prefix=str(tmp_path))
    variables = {
        "JUPYTER_PATH": "share/jupyter",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTER_CONFIG_DIR": "config",
        "IPYTHONDIR": "ipython",
        "IRSTD_RUNS": "runs",
    }
    for variable, folder in variables.items():
        monkeypatch.setenv(variable, str(tmp_path / folder))
    monkeypatch.setenv("IRSTD_TOY", "1")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    # A step for one device compiles in three quarters of the time.
    flags = platform.cpu_flags(quick=True)
    monkeypatch.setenv("XLA_FLAGS", " ".join(flags))
    return "python3"


def execute(name, kernel, probe):
    """({cell id: number of pictures}, the value of the expression `probe` at the end).

    A cell that raises fails the test with its traceback.
    """
    notebook = read(name)
    source = f"import json\nprint(json.dumps({probe}))"
    notebook.cells.append(nbformat.v4.new_code_cell(source, id="probe"))
    resources = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(
        notebook, timeout=600, kernel_name=kernel, resources=resources
    ).execute()
    pictures = {
        cell.id: sum("image/png" in output.get("data", {}) for output in cell.outputs)
        for cell in codes(notebook)
    }
    return pictures, json.loads(printed(notebook.cells[-1]))


def printed(cell):
    """What a cell printed: a busy kernel may send one line in several pieces."""
    return "".join(output.get("text", "") for output in cell.outputs)


def test_printed_joins_the_pieces_of_a_stream():
    cell = nbformat.v4.new_code_cell("print(1)")
    pieces = [nbformat.v4.new_output("stream", text=text) for text in ("1", "\n")]
    cell.outputs = pieces
    assert json.loads(printed(cell)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_committed_clean(name):
    """No outputs, no machine's paths, no address, and ids that stay and tell."""
    notebook = read(name)
    nbformat.validate(notebook)
    assert all(not c.outputs and c.execution_count is None for c in codes(notebook))
    for cell in notebook.cells:
        assert not ABSOLUTE.search(cell.source) and not ADDRESS.search(cell.source)
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cell.id), cell.id
    assert 'REPOSITORY = ""' in codes(notebook)[0].source


def test_all_set_up_alike():
    first, *others = ([c.source for c in codes(read(name))[:2]] for name in NAMES)
    assert all(other == first for other in others)


def test_equations_are_numbered_in_order():
    for name in NAMES:
        text = "".join(c.source for c in read(name).cells if c.cell_type == "markdown")
        found = [int(n) for n in re.findall(r"\\tag\{(\d+)\}", text)]
        in_dollars = [int(n) for n in re.findall(r"\((\d+)\)", text)]
        assert found and found == list(range(1, len(found) + 1))
        assert set(in_dollars) <= set(found)  # what is referred to is there


# Four trainings and a sampler: nearly all of the time is compilation.
def test_diff_mosaic(kernel, tmp_path):
    probe = """{
        "whole": whole, "untouched": untouched, "share": float(shares.mean()),
        "masks": {name: [float(v) for v in np.unique(m)]
                  for name, (_, m) in joined.items()},
        "losses": histories, "distances": distances, "bound": [float(b) for b in bound],
        "errors": errors, "refusal": refusal, "listed": listed, "new": new,
        "same": same, "real": len(source), "both": len(both),
        "kept": report["fidelity"]["stages"]["mosaic"]["kept"]}"""
    pictures, told = execute("03_diff_mosaic", kernel, probe)
    assert told["whole"] and told["untouched"]  # the anchor's tile, the clean region
    assert len(told["masks"]) == 5
    assert all(values == [0, 1] for values in told["masks"].values())
    # Four standard errors of 2,000 draws with a deviation of .26.
    assert told["share"] == pytest.approx(0.300, abs=0.024)
    assert list(told["losses"]) == RECIPES
    for losses in told["losses"].values():
        assert losses and all(math.isfinite(loss) for loss in losses)
    check_guidance(told["distances"], told["bound"])
    assert told["errors"]["wavelet"] < told["errors"]["none"] / 2
    assert "complete set" in told["refusal"] and "--overwrite" in told["refusal"]
    assert told["new"] == told["listed"][2:] and told["same"]
    assert told["both"] == told["real"] + len(told["listed"]) and told["kept"] == 1
    made = tmp_path / "runs" / "notebook_augment_tiny" / "set"
    for kind in ("images", "masks"):
        assert sorted(p.stem for p in (made / kind).iterdir()) == told["listed"]
    assert (made / "manifest.json").is_file()
    assert [cell for cell, number in pictures.items() if number] == DRAWING


def test_quickstart(kernel, tmp_path):
    probe = """{
        "code": code, "problems": problems, "modes": report["modes"],
        "steps": [row["step"] for row in history if "loss" in row],
        "losses": [row["loss"] for row in history if "loss" in row],
        "chain": chain.shape, "images": len(found)}"""
    pictures, told = execute("01_quickstart", kernel, probe)
    assert told["code"] == 0 and told["problems"] == 0
    assert told["steps"] == [1, 2, 3, 4]
    assert all(math.isfinite(loss) for loss in told["losses"])
    assert set(told["modes"]) >= {"diffusion", "discriminative", "fused"}
    for mode, scores in told["modes"].items():
        assert 0 <= scores["IoU"] <= 1 and 0 <= scores["Fa"] <= 1, mode
    assert told["chain"] == [2, 32, 32] and told["images"] == 8
    expected = ("scenes", "curve", "sheet", "roc", "strip", "predict")
    assert {cell: pictures[cell] for cell in expected} == {
        cell: 2 if cell == "strip" else 1 for cell in expected
    }
    assert (tmp_path / "runs" / "quickstart_tiny" / "best.safetensors").is_file()


def test_the_diffusion_process(kernel):
    probe = """{
        "refusal": refusal, "slopes": slopes, "wrong": wrong,
        "deviation": float(max(deviations)), "calibration": calibration / by_chance,
        "distances": {n: [float(x) for x in d] for n, d in distances.items()},
        "gaps": gaps}"""
    pictures, told = execute("02_the_diffusion_process", kernel, probe)
    assert "does not work with 20 steps" in told["refusal"]
    for name, slope in told["slopes"].items():
        assert slope == pytest.approx(1 if name == "ddim" else 2, abs=0.05), name
    assert told["wrong"]["staple"] < told["wrong"]["majority"] / 2
    # Shares of 65,536 pixels: four standard errors of the widest.
    assert told["deviation"] < 4 * 0.5 / 256
    assert told["calibration"] < 1.5
    assert told["distances"]["dpm_solver"][-1] < 0.05 < told["distances"]["ddim"][-1]
    assert told["gaps"] == sorted(told["gaps"], reverse=True)
    two = ("forward", "chain")
    drawing = [cell for cell, number in pictures.items() if number]
    assert len(drawing) >= 11 and all(pictures[cell] == 2 for cell in two)


def test_results(kernel, tmp_path):
    probe = """{
        "code": code, "systems": sorted(own), "best": best,
        "pairs": {f"{a} {b}": [float(d), *map(float, i)]
                  for (a, b), (d, i) in pairs.items()},
        "scores": {row["system"]: row["scores"]["IoU"]["mean"]
                   for row in table["rows"]}}"""
    pictures, told = execute("04_results", kernel, probe)
    scores = told["scores"]
    assert told["code"] == 0 and told["systems"] == sorted(scores)
    assert scores[told["best"]] == max(scores.values())
    for pair, (delta, low, high) in told["pairs"].items():
        one, other = pair.split()
        assert delta == pytest.approx(scores[one] - scores[other])
        assert low <= delta <= high
        assert told["pairs"][f"{other} {one}"][0] == -delta
    assert {cell: n for cell, n in pictures.items() if n} == {
        "tradeoff": 1,
        "curves": 2,
        "hard": 1,
        "longer": 1,
    }
    assert (tmp_path / "runs" / "notebook_compare" / "table.tex").is_file()


DRAWING = "parents methods steps mix share curves restore latents draw guide color"
DRAWING = [*DRAWING.split(), "stages"]
RECIPES = ["pixel_prior", "autoencoder", "latent_prior", "control"]


def check_guidance(distances, bound):
    """More guidance, nearer to the target, down to it, and never above the bound."""
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0 and distances[-1] < 1e-5 * distances[0]
    for distance, most in zip(distances, bound, strict=True):
        assert distance <= most + 1e-4 * distances[0]
