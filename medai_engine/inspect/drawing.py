"""A layered drawing of a directed graph as SVG.

Four steps, each a function: ``layered`` puts every box above all that it leads to (longest path),
as low as that allows, ``routed`` cuts edges into pieces from layer to layer, ``ordered`` sorts the
layers so that few edges cross (barycentres, swept down and up), and ``placed`` finds the positions
along a layer: near the neighbours, in this order, without overlap (a least-squares problem per
layer, solved exactly by pooling adjacent violators).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

from ..op import Op
from .page import PALETTE, Html

__all__ = ["Box", "drawing", "hue", "legend", "standalone"]

CHAR, ROW = 7.25, 17  # of 12 px monospaced text
GAP, BETWEEN, THIN = 26.0, 38.0, 14.0  # pixels between boxes, between layers, around an edge
SWEEPS = 12
STYLE = """svg.tape text{font:12px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;\
text-anchor:middle;fill:var(--ink)}svg.tape .dim{fill:var(--dim)}svg.tape .name{font-weight:600}\
svg.tape path.edge{fill:none;stroke:var(--dim);stroke-width:1.2}svg.tape path.head{fill:var(--dim)}\
svg.tape text.on{paint-order:stroke;stroke:var(--paper);stroke-width:5}\
svg.tape a:hover rect{stroke-width:2.5}"""


KINDS = ("sums of products", "element by element", "reductions and pooling", "norms and losses",
         "indices and order", "", "random numbers and updates", "views and copies")
FAMILIES = {"gemm": 0, "conv": 0, "attention": 0, "recurrent": 0, "decompositions": 0, "reduce": 2,
            "pool": 2, "norm": 3, "loss": 3, "indexing": 4, "embedding": 4, "sorting": 4,
            "shape": 7}


def hue(op: Op) -> int:
    """Return the number of the colour of an op's kind."""
    if op.elementwise:
        return 1
    rooms = op.definition.__module__.split(".")
    return 7 if op.view else next((FAMILIES[r] for r in rooms if r in FAMILIES), 6)


def legend(ops: Iterable[Op]) -> Html:
    """Return a line that says what the colours of these ops mean."""
    found = sorted({hue(op) for op in ops})
    return Html("<p class=dim>" + " ".join(
        f"<span class=key><i style='background:var(--f{k});border-color:var(--e{k})'></i> "
        f"{KINDS[k]}</span>" for k in found) + "</p>")


class Box(NamedTuple):
    """What is drawn for one node."""

    lines: tuple[str, ...]  # the first one is its name
    hue: int  # of the page's palette
    round: bool = False
    link: str = ""  # an address in the same page
    title: str = ""  # what a resting pointer shows

    @property
    def width(self) -> float:
        """Pixels."""
        return max(len(line) for line in self.lines) * CHAR + 20

    @property
    def height(self) -> float:
        """Pixels."""
        return ROW * len(self.lines) + 12


def layered(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return the layer of every node: as far above the last as its longest way there has steps."""
    before: list[list[int]] = [[] for _ in range(count)]
    left = [0] * count
    for a, b in edges:
        before[b].append(a)
        left[a] += 1
    height = [0] * count
    ready = [node for node in range(count) if not left[node]]
    for node in ready:  # grows on the way
        for a in before[node]:
            height[a] = max(height[a], height[node] + 1)
            left[a] -= 1
            if not left[a]:
                ready.append(a)
    top = max(height, default=0)
    return [top - h for h in height]


def routed(layer: list[int], edges: Sequence[tuple[int, int]],
           ) -> tuple[list[int], dict[tuple[int, int], tuple[int, int]]]:
    """Cut edges over several layers into pieces from layer to layer.

    Returns the layers of nodes and of the corners behind them, and the pieces, each with the edge
    that ends with it (of a corner: that leads there). Edges out of one node share their corners.
    """
    layer = list(layer)
    chains: dict[int, list[int]] = {}
    pieces: dict[tuple[int, int], tuple[int, int]] = {}
    for a, b in edges:
        chain = chains.setdefault(a, [a])
        while len(chain) < layer[b] - layer[a]:
            pieces[chain[-1], len(layer)] = a, b
            chain.append(len(layer))
            layer.append(layer[a] + len(chain) - 1)
        pieces[chain[layer[b] - layer[a] - 1], b] = a, b
    return layer, pieces


def ordered(layer: list[int], pieces: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the nodes of each layer from left to right, with few crossings."""
    above: list[list[int]] = [[] for _ in layer]
    below: list[list[int]] = [[] for _ in layer]
    for a, b in pieces:
        above[b].append(a)
        below[a].append(b)
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for node, k in enumerate(layer):
        rows[k].append(node)
    place = {node: float(i) for row in rows for i, node in enumerate(row)}

    def crossings() -> int:
        total = 0
        for row in rows:
            seen: list[float] = []
            for node in row:
                ends = sorted(place[b] for b in below[node])
                total += sum(len(seen) - bisect_right(seen, end) for end in ends)
                for end in ends:
                    insort(seen, end)
        return total

    best, fewest = [list(row) for row in rows], crossings()
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        for row in rows if down else rows[::-1]:
            middle = {node: fmean(place[m] for m in near[node]) if near[node] else place[node]
                      for node in row}
            row.sort(key=middle.__getitem__)
            for i, node in enumerate(row):
                place[node] = float(i)
        now = crossings()
        if now < fewest:
            best, fewest = [list(row) for row in rows], now
        if not fewest:
            break
    return best


def placed(rows: list[list[int]], pieces: Iterable[tuple[int, int]],
           widths: Sequence[float]) -> list[float]:
    """Return the middle of every node along its layer."""
    near: list[dict[bool, list[int]]] = [{True: [], False: []} for _ in widths]
    for a, b in pieces:
        near[b][True].append(a)
        near[a][False].append(b)
    weights = [1.0 if ways[True] else 0.01 for ways in near]  # leaves make way
    x = [0.0] * len(widths)
    for row in rows:
        spread(row, [0.0] * len(row), widths, weights, x)
    for sweep in range(2 * SWEEPS):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            wanted = []
            for node in row:
                ways = near[node][sweep % 2 == 0] or near[node][sweep % 2 == 1]
                wanted.append(fmean((x[m] for m in ways), [weights[m] for m in ways])
                              if ways else x[node])
            spread(row, wanted, widths, weights, x)
    left = min((x[n] - widths[n] / 2 for row in rows for n in row), default=0.0)
    return [value - left for value in x]


def spread(row: Sequence[int], wanted: Sequence[float], widths: Sequence[float],
           weights: Sequence[float], x: list[float]) -> None:
    """Set x of a row near the wanted places, in order and apart: weighted least squares."""
    offset = [0.0]
    for a, b in pairwise(row):
        offset.append(offset[-1] + (widths[a] + widths[b]) / 2 + GAP)
    pools: list[tuple[float, float, int]] = []  # of neighbours that touch: mean, weight, count
    for i, want in enumerate(wanted):
        mean, weight, count = want - offset[i], weights[row[i]], 1
        while pools and pools[-1][0] > mean:
            other, more, others = pools.pop()
            mean = (mean * weight + other * more) / (weight + more)
            weight, count = weight + more, count + others
        pools.append((mean, weight, count))
    means = (mean for mean, _, count in pools for _ in range(count))
    for node, mean, shift in zip(row, means, offset, strict=True):
        x[node] = mean + shift


def drawing(boxes: Sequence[Box], edges: Sequence[tuple[int, int, str]], label: str = "") -> Html:
    """Return the SVG of a graph without cycles.

    Parameters
    ----------
    boxes : sequence of Box
    edges : sequence of (from, to, text)
        Numbers of boxes; the text stands on the edge. One edge per pair.
    label : str
        What the drawing shows, for those who cannot see it.
    """
    texts = {(a, b): text for a, b, text in edges}
    count = len(boxes)
    layer, pieces = routed(layered(count, list(texts)), list(texts))
    widths = [box.width for box in boxes] + [THIN] * (len(layer) - count)
    rows = ordered(layer, pieces)
    x = placed(rows, pieces, widths)
    tops, bottoms, y = [], [], 2.0
    for row in rows:
        tall = max((boxes[n].height for n in row if n < count), default=0.0)
        tops.append(y)
        bottoms.append(y + tall)
        y += tall + BETWEEN + min(2.0 * len(row), 30.0)
    ports = entries([piece for piece in pieces if piece[1] < count], x, widths)
    lines, heads = [], []
    for (a, b), edge in pieces.items():
        top = tops[layer[a]] + boxes[a].height if a < count else bottoms[layer[a]]
        end, bottom = (ports[a, b], tops[layer[b]] - 6) if b < count else (x[b], tops[layer[b]])
        middle = (top + bottom) / 2
        lines.append(f"<path class='edge' d='M{x[a]:.1f} {top:.1f}C{x[a]:.1f} {middle:.1f} "
                     f"{end:.1f} {middle:.1f} {end:.1f} {bottom:.1f}"
                     + f"V{bottoms[layer[b]]:.1f}" * (b >= count) + "'/>")
        if b >= count:
            continue
        heads.append(f"<path class='head' d='M{end - 3.5:.1f} {bottom - 1:.1f}h7l-3.5 7z'/>")
        if texts[edge]:  # on the line
            heads.append(f"<text class='dim on' x='{(x[a] + end) / 2:.1f}' y='{middle + 4:.1f}'>"
                         f"{escape(texts[edge])}</text>")
    shapes = [shape(box, x[i], tops[layer[i]]) for i, box in enumerate(boxes)]
    width = max((x[i] + w / 2 for i, w in enumerate(widths)), default=0.0) + 4
    height = max(bottoms, default=0.0) + 4
    return Html(f"<svg class='tape' role='img' aria-label='{escape(label, quote=True)}' "
                f"viewBox='-2 0 {width:.0f} {height:.0f}' width='{width:.0f}' "
                f"height='{height:.0f}' style='max-width:none'><style>{STYLE}</style>\n"
                + "\n".join([*lines, *heads, *shapes]) + "</svg>")


def entries(last: Sequence[tuple[int, int]], x: Sequence[float],
            widths: Sequence[float]) -> dict[tuple[int, int], float]:
    """Return where last pieces enter their boxes: side by side, in the order in which they come."""
    into: dict[int, list[int]] = {}
    for a, b in last:
        into.setdefault(b, []).append(a)
    found = {}
    for b, ways in into.items():
        step = min(24.0, widths[b] / (len(ways) + 1))
        for i, a in enumerate(sorted(ways, key=x.__getitem__)):
            found[a, b] = x[b] + (i - (len(ways) - 1) / 2) * step
    return found


def shape(box: Box, x: float, y: float) -> str:
    """Return the SVG of one box."""
    texts = "".join(
        f"<text class='{'dim' if i else 'name'}' x='{x:.1f}' y='{y + 18 + ROW * i:.1f}'>"
        f"{escape(line)}</text>" for i, line in enumerate(box.lines))
    inner = (f"<rect x='{x - box.width / 2:.1f}' y='{y:.1f}' width='{box.width:.1f}' "
             f"height='{box.height:.1f}' rx='{min(box.height / 2, 19) if box.round else 5:.1f}' "
             f"fill='var(--f{box.hue})' stroke='var(--e{box.hue})'>"
             f"<title>{escape(box.title)}</title></rect>{texts}")
    return f"<a href='{escape(box.link, quote=True)}'>{inner}</a>" if box.link else inner


def standalone(svg: str) -> str:
    """Return a drawing as a file of its own, or for a page of others: with the colours in it."""
    colours = PALETTE.replace(":root", "svg.tape")
    return svg.replace("<svg ", "<svg xmlns='http://www.w3.org/2000/svg' ", 1).replace(
        "<style>", f"<style>{colours}svg.tape{{background:var(--paper)}}", 1)
