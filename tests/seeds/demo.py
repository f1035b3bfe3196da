"""The sensors that the demo script of the source documents makes, from its own templates."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent / "data"
GROUPS = {"factory-old": 5, "factory-new": 5, "warehouse": 3, "outdoor": 2}
"""Template and how many the script's loops make of it."""
DOCUMENTED = ("000-legacy", "000-nested", "002-node_identity")
"""The identities that the documents show in full."""


def demo_identities(folder: Path) -> None:
    """Write the script's fifteen identity files, as its loops would."""
    for group, count in GROUPS.items():
        template = (DATA / f"002-{group}.json").read_text()
        for number in range(1, count + 1):
            name = f"{group.replace('-', '_')}_{number}.json"
            (folder / name).write_text(template.replace("${i}", str(number)))
