"""The rooms of both packages as a picture and a table, made from the imports of the code as it stands.

    python -m tools.architecture           writes docs/images/architecture.svg and the table in docs/architecture.md
    python -m tools.architecture --check   exits with 1 where the table is not that of the code

A room is a module or folder at the top of a package. It stands one floor above the highest room that it imports.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PAGE, PICTURE = ROOT / "docs" / "architecture.md", ROOT / "docs" / "images" / "architecture.svg"
PACKAGES = ("analysis", "lm_eval_ext", "lm_eval_ext.models")
START, END = "<!-- rooms: made by tools/architecture.py -->", "<!-- end of rooms -->"


@dataclass(frozen=True, kw_only=True)
class Room:
    """A module or folder at the top of a package."""

    name: str
    """Dotted, "analysis.tables"."""
    floor: int
    """1 for a room that imports none of its package."""
    imports: tuple[str, ...]
    """Rooms of the same package that it imports, sorted."""
    about: str
    """First line of its docstring."""


def rooms(package: str) -> list[Room]:
    """The rooms of a package, highest floor first, then by name.

    Raises:
        ValueError: If rooms import each other in a circle; the message names them.
    """
    graph = _graph()
    names = sorted(graph.find_children(package))
    arrows = {name: _imported(graph, name, names) for name in names}
    floors = _floors(arrows)
    found = [
        Room(name=name, floor=floors[name], imports=tuple(sorted(arrows[name])), about=_about(name)) for name in names
    ]
    return sorted(found, key=lambda room: (-room.floor, room.name))


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph("analysis", "lm_eval_ext", exclude_type_checking_imports=True)


def _imported(graph: grimp.ImportGraph, room: str, names: list[str]) -> set[str]:
    modules = {room, *graph.find_descendants(room)}
    targets = {target for module in modules for target in graph.find_modules_directly_imported_by(module)}
    return {name for name in names if name != room and any(f"{target}.".startswith(f"{name}.") for target in targets)}


def _floors(arrows: Mapping[str, set[str]]) -> dict[str, int]:
    floors: dict[str, int] = {}
    while len(floors) < len(arrows):
        ready = [name for name in arrows if name not in floors and arrows[name] <= floors.keys()]
        if not ready:
            raise ValueError(f"these rooms import each other: {', '.join(sorted(set(arrows) - set(floors)))}")
        floors |= {name: 1 + max((floors[below] for below in arrows[name]), default=0) for name in ready}
    return floors


def _about(name: str) -> str:
    path = ROOT.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return doc.split("\n\n")[0].replace("\n", " ")


def table() -> str:
    """The rooms as Markdown, a table a package."""
    parts = []
    for package in PACKAGES:
        found = rooms(package)
        arrows = sum(len(room.imports) for room in found)
        parts.append(f"### `{package}`: {len(found)} rooms, {found[0].floor} floors, {arrows} arrows\n")
        parts.append("| floor | room | holds | imports |\n|---|---|---|---|")
        for room in found:
            below = ", ".join(f"`{name.rpartition('.')[2]}`" for name in room.imports) or "-"
            parts.append(f"| {room.floor} | `{room.name.rpartition('.')[2]}` | {room.about} | {below} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def page(text: str) -> str:
    """The page with the table of the code as it stands between its two marks."""
    before, rest = text.split(START)
    return f"{before}{START}\n\n{table()}\n{END}{rest.split(END)[1]}"


def draw(path: Path) -> None:
    """The picture: a column a package, a row a floor, an arrow an import."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "rooms"  # the same picture every time
    from matplotlib import pyplot as plt

    figure, columns = plt.subplots(1, len(PACKAGES), figsize=(18, 7), layout="constrained")
    for axes, package in zip(columns, PACKAGES, strict=True):
        found = rooms(package)
        places: dict[str, tuple[float, float]] = {}
        for floor in range(1, found[0].floor + 1):
            level = [room for room in found if room.floor == floor]
            for number, room in enumerate(level):
                places[room.name] = ((number + 1) / (len(level) + 1), floor)
        for room in found:
            for below in room.imports:
                style = {"arrowstyle": "-|>", "color": "#7a8aa0", "alpha": 0.45, "shrinkA": 13, "shrinkB": 13}
                style["connectionstyle"] = "arc3,rad=0.12"  # so that no arrow hides behind a room
                axes.annotate("", places[below], places[room.name], arrowprops=style)
        for room in found:
            x, y = places[room.name]
            box = {"boxstyle": "round,pad=0.45", "facecolor": "#eef3fa", "edgecolor": "#35507a"}
            axes.text(x, y, room.name.rpartition(".")[2], ha="center", va="center", fontsize=9, bbox=box)
        axes.set(xlim=(0, 1), ylim=(0.5, found[0].floor + 0.5), title=package, xticks=[])
        axes.set_yticks(range(1, found[0].floor + 1), [f"floor {n}" for n in range(1, found[0].floor + 1)])
        axes.spines[:].set_visible(False)
        axes.tick_params(left=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> int:
    """Write or check, as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the table is old")
    old = PAGE.read_text(encoding="utf-8")
    new = page(old)
    if parser.parse_args().check:
        if new != old:
            sys.stderr.write(f"{PAGE.name} is not of this code: run python -m tools.architecture\n")
        return int(new != old)
    PAGE.write_text(new, encoding="utf-8")
    draw(PICTURE)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
