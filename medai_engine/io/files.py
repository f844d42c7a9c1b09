"""Arrays and JSON on disk: written whole or not at all, checked when read.

A file is written beside its place, flushed to the disk and renamed over it, so that a reader (or
a resumed run) sees the old file or the new one, never a half.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import DataError, ParameterError, say
from ..tensor import Tensor

__all__ = ["read_arrays", "read_json", "read_state", "write_arrays", "write_atomically",
           "write_json", "write_state"]

MAGIC = {  # how files start that people take for weights
    b"PK": "a zip archive (a PyTorch .pt or a Keras .keras file?)",
    b"\x80": "a pickle",
    b"\x89HDF": "an HDF5 file (Keras .h5?)",
    b"\x93NUMPY": "a NumPy .npy file",
}
FIX = "Pass a file that model.save(path) or safetensors wrote"


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all, and have it on the disk when this returns."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too
    finally:
        os.close(folder)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON."""
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    DataError
        When it is missing or not JSON.
    """
    try:
        return json.loads(_existing(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(say(str(path), "JSON", f"something else ({error})",
                            "Pass the .json file that was written beside the weights")) from error


def write_arrays(path: str | Path, arrays: Mapping[str, Any],
                 metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays or tensors as one safetensors file.

    Transposed, strided and big-endian arrays are written as what they mean.
    """
    from safetensors.numpy import save

    plain = {}
    for name, value in arrays.items():
        array = np.asarray(value.data if isinstance(value, Tensor) else value)
        # numpy.ascontiguousarray would turn a number into an array of one dimension
        plain[name] = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
    write_atomically(path, save(plain, dict(metadata) if metadata else None))


def read_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a safetensors file: its arrays by name, and its metadata.

    Raises
    ------
    DataError
        When the file is missing, cut short, or no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    path = _existing(path)
    _check_header(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise DataError(say(str(path), "a whole safetensors file", f"a damaged one ({error})",
                            FIX)) from error


def write_state(path: str | Path, state: Any) -> None:
    """Write nested dicts, lists, tuples, numbers, strings and arrays as one safetensors file.

    The structure goes as JSON into the file's metadata, so that one rename replaces all of it.
    """
    arrays: dict[str, Any] = {}
    structure = json.dumps(_outline(state, arrays, "state"), separators=(",", ":"))
    write_arrays(path, arrays, {"medai": structure})


def read_state(path: str | Path) -> Any:
    """Read what ``write_state`` wrote; arrays come as ``numpy.ndarray``."""
    arrays, metadata = read_arrays(path)
    if "medai" not in metadata:
        raise DataError(say(str(path), "a checkpoint", "a safetensors file of weights only",
                            "Pass the file that the Checkpoint callback wrote, or use "
                            "me.load(path) for weights"))
    return _filled(json.loads(metadata["medai"]), arrays)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir():
        raise DataError(say(str(path), "a file", "a folder", "Pass a file inside it"))
    if not path.is_file():
        raise DataError(say(str(path), "an existing file", "no such file",
                            f"Check the path (the current folder is {Path.cwd()})"))
    return path


def _check_header(path: Path) -> None:
    """Refuse what safetensors would only call an invalid header, naming what it is."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(9)
    for magic, name in MAGIC.items():
        if head.startswith(magic) and head[8:9] != b"{":
            raise DataError(say(str(path), "a safetensors file", name, FIX))
    if size < 8 or head[8:9] != b"{":
        what = "an empty file" if size == 0 else "a file that does not start like one"
        raise DataError(say(str(path), "a safetensors file", what, FIX))
    needed = 8 + int.from_bytes(head[:8], "little")
    if needed > size:
        raise DataError(say(str(path), f"a header of {needed} bytes", f"a file cut at {size}",
                            "Copy or download the file again"))


def _outline(value: Any, arrays: dict[str, Any], name: str) -> Any:
    """Return the JSON side of a value; its arrays go into ``arrays``."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (Tensor, np.ndarray)):
        arrays[name] = value
        return {"$array": name}
    if isinstance(value, (list, tuple)):
        items = [_outline(item, arrays, f"{name}.{i}") for i, item in enumerate(value)]
        return {"$tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        items = [(key, _outline(item, arrays, f"{name}.{key}")) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return dict(items)
        return {"$items": [[_outline(key, arrays, name), item] for key, item in items]}
    raise ParameterError(say("write_state", "numbers, strings, arrays, lists and dicts",
                             f"{type(value).__name__} at {name}",
                             "Give its state_dict() or a plain value instead"))


def _filled(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_filled(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    inverse: dict[str, Callable[[Any], Any]] = {
        "$array": lambda name: arrays[name],
        "$tuple": lambda items: tuple(_filled(item, arrays) for item in items),
        "$items": lambda items: {_filled(k, arrays): _filled(v, arrays) for k, v in items},
    }
    key = next(iter(value), None)
    if key in inverse:
        return inverse[cast(str, key)](value[key])
    return {key: _filled(item, arrays) for key, item in value.items()}
