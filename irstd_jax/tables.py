"""Tables for readers and programs: the same cells as Markdown, LaTeX and CSV."""

import csv as library
import io

# What LaTeX reads as a command, and the signs that it wants in words.
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "±": r"$\pm$",
}


def markdown(head, blocks, notes=()):
    """Text of one table a block: [(title, rows of texts)], the notes below."""
    parts = []
    for title, rows in blocks:
        lines = [head, ["---"] * len(head), *rows]
        cells = ([str(cell).replace("|", r"\|") for cell in line] for line in lines)
        table = "\n".join("| " + " | ".join(line) + " |" for line in cells)
        parts.append(f"**{title}**\n\n{table}\n")
    return "\n".join(parts) + "".join(f"\n{note}\n" for note in notes)


def latex(head, blocks, notes=()):
    """One tabular of booktabs with a heading a block; the notes as comments."""
    width = len(head)
    lines = [f"% {note}" for note in notes]
    lines += [rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}", r"\toprule", joined(head)]
    for title, rows in blocks:
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{{escaped(title)}}} \\"]
        lines += [joined(row) for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def joined(cells):
    return " & ".join(escaped(cell) for cell in cells) + r" \\"


def escaped(text):
    """A text with nothing that LaTeX would read as its own."""
    return "".join(LATEX.get(sign, sign) for sign in str(text))


def csv(head, rows):
    """Comma-separated values with a header; None is empty."""
    text = io.StringIO()
    library.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()
