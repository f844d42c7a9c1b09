"""Training from arrays to weights, data loading included: cnn64 on 2,000 slices, per epoch.

Ours is ``model.fit`` (plans); PyTorch's is its usual loop over a DataLoader, in its default layout
and channels-last, the faster counts. The losses of the first epoch are compared: same weights, same
order of samples.

    python -m benchmarks.fit [--threads N] [--rounds N] [--processor] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import time

import numpy as np

import medai_engine as me
from medai_engine import nn, optim
from medai_engine.data import datasets
from medai_engine.data.loader import order


def ours() -> nn.Module:
    me.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(64, 128, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(128 * 36, 128), nn.ReLU(), nn.Linear(128, 2))


def theirs(model: nn.Module, torch):
    t = torch.nn
    other = t.Sequential(
        t.Conv2d(1, 32, 3), t.ReLU(), t.MaxPool2d(2), t.Conv2d(32, 64, 3), t.ReLU(),
        t.MaxPool2d(2), t.Conv2d(64, 128, 3), t.ReLU(), t.MaxPool2d(2), t.Flatten(),
        t.Linear(128 * 36, 128), t.ReLU(), t.Linear(128, 2))
    state = {}
    for name, value in model.state_dict().items():
        array = value.numpy()
        if array.ndim == 4:
            array = np.moveaxis(array, -1, 1)
        elif name == "10.weight":  # flattened channels last here, first there
            array = array.reshape(128, 6, 6, 128).transpose(0, 3, 1, 2).reshape(128, -1)
        state[name] = torch.from_numpy(np.ascontiguousarray(array).copy())
    other.load_state_dict(state)
    return other


class Order:
    """The order of samples in an epoch, the same for both."""

    def __init__(self, n: int):
        self.n, self.epoch = n, 0

    def __len__(self) -> int:
        return self.n

    def __iter__(self):
        return iter(order(self.n, 0, self.epoch).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processor", action="store_true", help="processor time, for one thread "
                        "on a machine that has other work")
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    clock = time.process_time if options.processor else time.perf_counter
    import torch

    torch.set_num_threads(options.threads)
    me.set_num_threads(options.threads)
    x, y, _ = datasets.slices(2000)
    x = (x - x.mean()) / x.std()
    model = ours()
    start = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    layouts = {}
    for name in ("default", "channels_last"):
        other = theirs(model, torch)
        form = torch.channels_last if name == "channels_last" else torch.contiguous_format
        other = other.to(memory_format=form)
        pixels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1))).contiguous(
            memory_format=form)
        sampler = Order(len(x))
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(pixels, torch.from_numpy(y)), batch_size=32,
            sampler=sampler)
        layouts[name] = other, torch.optim.Adam(other.parameters(), 1e-3, eps=1e-8), loader, sampler
    model.load_state_dict(start)
    model.compile(optim.Adam(model.parameters(), 1e-3), "cross_entropy")
    times: dict[str, list[float]] = {"ours": [], "default": [], "channels_last": []}
    losses: dict[str, float] = {}
    for round_ in range(options.rounds):
        began = clock()
        history = model.fit(x, y, epochs=1, batch_size=32, verbose=False, seed=0)
        times["ours"].append(clock() - began)
        losses.setdefault("ours", history["loss"][0])
        for name, (other, optimizer, loader, sampler) in layouts.items():
            time.sleep(0.3)  # its threads spin on after work
            sampler.epoch = 0
            form = torch.channels_last if name == "channels_last" else torch.contiguous_format
            began, total = clock(), 0.0
            for images, labels in loader:
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(
                    other(images.contiguous(memory_format=form)), labels)
                loss.backward()
                optimizer.step()
                total += loss.item() * len(labels)
            times[name].append(clock() - began)
            losses.setdefault(name, total / len(x))
        time.sleep(0.3)
        print(round_, {k: round(v[-1], 2) for k, v in times.items()}, flush=True)
    best = {name: min(values) for name, values in times.items()}
    peer = min(best["default"], best["channels_last"])
    for name in ("default", "channels_last"):
        assert abs(losses[name] - losses["ours"]) < 2e-3, losses
    result = {"machine": platform.processor() or platform.machine(), "threads": options.threads,
              "torch": torch.__version__, "numpy": np.__version__, "seconds_per_epoch": best,
              "times_as_fast": peer / best["ours"], "first_epoch_loss": losses,
              "command": f"python -m benchmarks.fit --threads {options.threads} "
                         f"--rounds {options.rounds}" + " --processor" * options.processor}
    print(json.dumps(result, indent=1))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
