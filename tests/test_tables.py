"""Tables: the same cells in each form, and nothing in them that a form would read."""

import csv
import io
import re

from irstd_jax import tables

HEAD = ("system", "IoU %")
BLOCKS = [("nuaa_sirst", [["acm_fpn", "1.0 ± .1"], ["a|b", "50 %"]]), ("x", [])]


def test_markdown_has_as_many_cells_as_columns():
    text = tables.markdown(HEAD, BLOCKS, ["a note"])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 2 + 2
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in lines)
    assert "**nuaa_sirst**" in text and text.endswith("a note\n")


def test_latex_escapes_its_own_signs():
    text = tables.latex(HEAD, BLOCKS, ["50 %"])
    assert r"acm\_fpn & 1.0 $\pm$ .1 \\" in text and r"50 \%" in text
    assert text.startswith("% 50 %\n") and r"\begin{tabular}{lr}" in text
    assert text.count(r"\\") == 1 + 2 + 2  # head, rows, titles
    assert tables.escaped("a_b^{c}\\") == (
        r"a\_b\textasciicircum{}\{c\}\textbackslash{}"
    )


def test_csv_is_read_back():
    rows = [["a,b", 0.5, None], ['say "x"', 1, ""]]
    text = tables.csv(["name", "x", "y"], rows)
    assert list(csv.reader(io.StringIO(text))) == [
        ["name", "x", "y"],
        ["a,b", "0.5", ""],
        ['say "x"', "1", ""],
    ]
