"""Who runs the networks: this package in three ways, PyTorch in three, JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .networks import Network
from .networks_jax import jax
from .networks_medai import medai
from .networks_torch import torch

PEERS: dict[str, Callable[[Network, int], tuple[Any, Any]]] = {
    "medai": medai,
    "inexact": lambda network, threads: medai(network, threads, exact=False),
    "eager": lambda network, threads: medai(network, threads, jitted=False),
    "torch": torch,
    "channels_last": lambda network, threads: torch(network, threads, "channels_last"),
    "compile": lambda network, threads: torch(network, threads, "compile"),
    "jax": jax,
}
