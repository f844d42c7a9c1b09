"""What this installation runs on, and how fast that can be."""

from __future__ import annotations

import platform
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill

import numpy as np

from .. import kernels
from ..mode import MODE

__all__ = ["doctor"]

EXTRAS = {"numba": ("numba", "the loops backend, @me.kernel"),
          "data": ("sklearn", "datasets"), "plot": ("matplotlib", "plots")}


def processor() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def ceilings() -> list[str]:
    """Return lines with the measured peaks of arithmetic and of memory."""
    if not kernels.COMPILED:
        return ["peak         not measured: nothing is compiled here"]
    from ..kernels.simd.ceilings import copy_bandwidth, peak_flops

    most = kernels.get_num_threads()
    lines = []
    for threads in sorted({1, most}):
        single, double = (peak_flops(t, threads) / 1e9 for t in ("float32", "float64"))
        lines.append(f"peak         {single:6.0f} GFLOP/s float32, {double:6.0f} float64, "
                     f"{copy_bandwidth(threads) / 1e9:5.1f} GB/s copied (read + written), "
                     f"{threads} thread{'s' * (threads > 1)}")
    return lines


def version() -> str:
    """Return the version that is installed."""
    from importlib import metadata

    try:
        return metadata.version("medai-engine")
    except metadata.PackageNotFoundError:
        return "not installed, running from its source tree"


def doctor() -> str:
    """Return version, processor, backends, kernels, threads and measured peaks as text."""
    backends = ["reference"]
    if find_spec("numba"):
        backends.append("loops")
    if kernels.COMPILED:
        backends.append("fast")
    lines = [
        f"medai_engine {version()}",
        f"python       {platform.python_version()}, NumPy {np.__version__}, "
        f"{platform.system()} {platform.machine()}",
        f"processor    {processor()}",
        f"backends     {', '.join(backends)}; running: {MODE.get().backend}",
        *(f"extra        {name}: " + (f"installed ({what})" if find_spec(module) else
                                      f'not installed ({what}): pip install "medai-engine[{name}]"')
          for name, (module, what) in EXTRAS.items()),
        *ceilings(),
        "kernels",
        *(fill(line, 100, initial_indent="  ", subsequent_indent=" " * 37)
          for line in kernels.report().splitlines()),
    ]
    return "\n".join(lines)
