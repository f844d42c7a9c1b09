"""Small pictures as SVG: curves, bars, grids of numbers. In the page's colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ...inspect.page import Html

__all__ = ["bars", "curves", "grid"]

FONT = "font:12px system-ui,sans-serif"


def svg(width: float, height: float, parts: Sequence[str], label: str) -> Html:
    """Return a picture of its parts; the label is for those who cannot see it."""
    return Html(f"<svg viewBox='0 0 {width:.0f} {height:.0f}' width='{width:.0f}' role='img' "
                f"aria-label='{escape(label, quote=True)}' xmlns='http://www.w3.org/2000/svg'>"
                f"{''.join(parts)}</svg>")


def text(x: float, y: float, words: Any, anchor: str = "start", style: str = "") -> str:
    """Return words at a place."""
    return (f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' style='{FONT};{style}'>"
            f"{escape(str(words))}</text>")


def box(x: float, y: float, width: float, height: float, hue: int, title: str = "") -> str:
    """Return a rectangle in one of the page's eight hues."""
    said = f"<title>{escape(title)}</title>" if title else ""
    return (f"<rect x='{x:.2f}' y='{y:.2f}' width='{width:.2f}' height='{height:.2f}' rx='2' "
            f"style='fill:var(--f{hue % 8});stroke:var(--e{hue % 8})'>{said}</rect>")


def line(x0: float, y0: float, x1: float, y1: float, style: str = "stroke:var(--line)") -> str:
    """Return a straight line."""
    return f"<path d='M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}' style='fill:none;{style}'/>"


def curves(lines: Mapping[str, Sequence[float]], x: str, y: str, *, width: float = 620,
           height: float = 240) -> Html:
    """Return lines over their indices, each with its name at its end."""
    values = np.concatenate([np.asarray(v, float) for v in lines.values()])
    values[np.abs(values) < 1e-9 * np.abs(values).max()] = 0.0  # what is as good as 0
    low, high = float(values.min()), float(values.max())
    span = (high - low) or 1.0
    count = max(len(v) for v in lines.values())
    left, right, top, bottom = 62, width - 170, 26, height - 36

    def at(i: float, v: float) -> tuple[float, float]:
        return (left + (right - left) * i / max(count - 1, 1),
                bottom - (bottom - top) * (v - low) / span)

    parts = [line(left, bottom, right, bottom), line(left, top, left, bottom),
             text(left - 6, bottom + 4, f"{low + 0.0:.3g}", "end"),
             text(left - 6, top + 8, f"{high + 0.0:.3g}", "end"), text(left, bottom + 16, 0),
             text(right, bottom + 16, count - 1, "end"),
             text((left + right) / 2, height - 6, x, "middle"),
             text(left - 50, 12, y, style="fill:var(--dim)")]
    ends = []
    for hue, (name, found) in enumerate(lines.items()):
        places = [at(i, float(v)) for i, v in enumerate(found)]
        parts.append(f"<path d='M{'L'.join(f'{a:.1f} {b:.1f}' for a, b in places)}' "
                     f"style='fill:none;stroke:var(--e{hue});stroke-width:2'/>")
        ends.append((places[-1][1], hue, name))
    lowest = float(top)
    for wanted, hue, name in sorted(ends):  # names keep a line's distance
        lowest = max(lowest, wanted)
        parts.append(text(right + 8, lowest + 4, name, style=f"fill:var(--e{hue})"))
        lowest += 16
    return svg(width, height, parts, f"{', '.join(lines)}: {y} over {x}")


def bars(amounts: Mapping[str, float], unit: str, *, width: float = 620) -> Html:
    """Return one bar per name, with its number."""
    most = max(amounts.values()) or 1.0
    left = 12 + 7 * max(len(name) for name in amounts)
    room = width - left - 60 - 7 * len(unit)  # for the bars
    parts = []
    for i, (name, value) in enumerate(amounts.items()):
        y = 6 + 26 * i
        parts += [text(left - 8, y + 14, name, "end"),
                  box(left, y, max(room * value / most, 1), 19, i),
                  text(left + room * value / most + 8, y + 14,
                       f"{value:.3g} {unit}")]
    return svg(width, 26 * len(amounts) + 8, parts, f"{', '.join(amounts)} in {unit}")


def grid(tables: Mapping[str, np.ndarray], *, cell: float = 30, numbers: bool = True) -> Html:
    """Return small matrices side by side, darker where a number is larger."""
    parts: list[str] = []
    x, tallest = 4.0, 0
    for name, table in tables.items():
        rows, columns = table.shape
        most = float(np.abs(table).max()) or 1.0
        edge = "var(--line)" if numbers else "none"
        parts.append(text(x, 14, name))
        for i in range(rows):
            for j in range(columns):
                value = float(table[i, j])
                parts.append(
                    f"<rect x='{x + cell * j:.1f}' y='{22 + cell * i:.1f}' width='{cell}' "
                    f"height='{cell}' style='fill:var(--e{0 if value >= 0 else 4});fill-opacity:"
                    f"{0.75 * abs(value) / most:.2f};stroke:{edge}'/>")
                if numbers:
                    parts.append(text(x + cell * (j + 0.5), 26 + cell * (i + 0.5), f"{value:.3g}",
                                      "middle"))
        x += max(cell * columns, 7 * len(name)) + 26
        tallest = max(tallest, rows)
    return svg(x, 28 + cell * tallest, parts, ", ".join(tables))
