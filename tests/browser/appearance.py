"""What is wrong with the look of a page in a window: in each size of screen, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tests.browser.window import Window

if TYPE_CHECKING:
    from playwright.sync_api import Page

LOOKS: tuple[tuple[int, int, Literal["light", "dark"]], ...] = (
    (1440, 900, "light"),
    (1440, 900, "dark"),
    (1920, 1080, "dark"),
    (390, 844, "light"),
)
"""Width, height and theme. No place of a text depends on the theme, and no colour on the size: not all are combined."""

NOTE_CANVAS_TEXTS = Path(__file__).with_name("canvas_texts.js").read_text()
LIST_PROBLEMS = Path(__file__).with_name("appearance.js").read_text()

# Two frames: in the first one charts that have another size or other colours are drawn.
DRAWN = "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"


def note_canvas_texts(window: Window) -> None:
    """Note the texts on canvases from now on, for pages that are opened later."""
    window.page.add_init_script(NOTE_CANVAS_TEXTS)


def check_appearance(page: Page) -> None:
    """Fail if anything is wrong with a page that is open, in any of the LOOKS: text that is cut, covered, wrapped or
    below a contrast of 4.5 to 1, or a page that scrolls to the side."""
    found: list[str] = []
    page.evaluate("window.scrollTo({ top: 0, behavior: 'instant' })")  # the bar covers what is scrolled
    for width, height, scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.evaluate(DRAWN)
        found += [f"{width}x{height} {scheme}: {problem}" for problem in page.evaluate(LIST_PROBLEMS)]
    assert not found, "\n".join(found)
