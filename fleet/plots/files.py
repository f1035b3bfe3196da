"""A plot as a file: PNG, SVG, or a page with the SVG in it."""

from __future__ import annotations

import html
import re
from io import BytesIO

from matplotlib import rc_context
from matplotlib.figure import Figure

from fleet.plots.figure import STYLE
from fleet.plots.palette import STYLES, colours

FIGURE_COLOURS = ("text", "quiet", "edge", "grid-line", "faint", "panel")
"""The colours of the style sheet that a figure has, besides those of the types of anomaly."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{styles}
main {{ max-width: 1280px; margin: 0 auto; padding: 14px; }}
figure {{ padding: 8px; overflow-x: auto; background: var(--panel); border: 1px solid var(--edge); border-radius: var(--radius); }}
figure svg {{ display: block; width: 100%; min-width: 720px; height: auto; }}
@media print {{ :root {{ color-scheme: light; }} main {{ padding: 0; }} figure {{ border: 0; }} figure svg {{ min-width: 0; }} }}
</style>
<main><figure>{svg}</figure></main>
</html>
"""


def plot_file(figure: Figure, form: str, title: str) -> bytes:
    """Return the content of a file of the format `png`, `svg` or `html`. The same figure gives the same bytes."""
    if form == "html":
        styles = (STYLES / "tokens.css").read_text(encoding="utf-8")
        page = PAGE.format(title=html.escape(title), styles=styles, svg=inline_svg(figure, title))
        return page.encode()
    written = BytesIO()
    with rc_context(STYLE):
        figure.savefig(written, format=form, metadata={"Date": None} if form == "svg" else {"Software": None})
    return written.getvalue()


def inline_svg(figure: Figure, label: str) -> str:
    """Return the SVG of a figure as a part of a page: its colours are those of the page's theme."""
    text = plot_file(figure, "svg", label).decode()
    text = text[text.index("<svg") :]
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # the parts of each figure have the same names
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    head, _, rest = text.partition(">")
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    head += f' role="img" aria-label="{html.escape(label)}"'
    names = {colour.light: name for name, colour in colours().items() if name not in FIGURE_COLOURS}
    names |= {colours()[name].light: name for name in FIGURE_COLOURS}
    pattern = re.compile("|".join(map(re.escape, names)))
    return f"{head}>{pattern.sub(lambda match: f'var(--{names[match[0]]})', rest)}"
