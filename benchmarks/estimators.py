"""Estimators here and in scikit-learn: the same data and parameters, in one process, in turn.

    python -m benchmarks.estimators                    # all cases, two threads each
    python -m benchmarks.estimators forest --rounds 5
    python -m benchmarks.estimators --memory           # a forest on 1,000,000 x 50, by process

A round fits and predicts (best of five) with both, one after the other; times and ratios are
medians of the rounds, by the clock. Scores on the held-out half are shown beside each other; a case
that scores more than half a point below scikit-learn stops the run.

The memory run gives each library a process of its own. Its table is float32 already; "peak" is the
process's highest resident memory minus what it had before there was a table, over the table's size:
the table itself is 1.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import medai_engine as me

from .peers import machine

PARALLEL = "RandomForestClassifier", "RandomForestRegressor"  # scikit-learn's n_jobs counts


@dataclass
class Case:
    """One estimator on one table."""

    part: str
    name: str
    kind: str  # of both libraries
    data: Callable[[], tuple[np.ndarray, np.ndarray]]
    options: dict[str, Any]
    goal: float | None = None  # times scikit-learn's speed of fit that the project promises
    own: dict[str, Any] | None = None  # options that only this package has

    def here(self) -> Any:
        """Return this package's estimator."""
        from medai_engine import estimators

        return getattr(estimators, self.kind)(**self.options, **(self.own or {}))

    def there(self, threads: int) -> Any:
        """Return scikit-learn's."""
        from sklearn.utils import all_estimators

        jobs = {"n_jobs": threads} if self.kind in PARALLEL else {}
        return dict(all_estimators())[self.kind](**self.options, **jobs)


def synthetic(N: int = 20_000, D: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return two classes in 20 of D dimensions, 5 % of the labels wrong; float32."""
    from sklearn.datasets import make_classification

    X, y = make_classification(N, D, n_informative=20, n_redundant=10, flip_y=0.05,
                               random_state=seed)
    return X.astype(np.float32), y


def scaled(N: int = 20_000, D: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return ``synthetic`` as linear models and SVMs want it: standardised, float64."""
    X, y = synthetic(N, D, seed)
    X = X.astype(np.float64)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def numbers(N: int = 20_000, D: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a nonlinear function of ten of D columns, with noise; float32."""
    from sklearn.datasets import make_friedman1

    X, y = make_friedman1(N, D, noise=1.0, random_state=seed)
    return X.astype(np.float32), y


def both_halves(data: Callable[..., tuple[np.ndarray, np.ndarray]]) -> Callable[[], Any]:
    """Return a maker of twice the rows: the first half trains, the second is held out."""
    return lambda: data(N=40_000)


FOREST = {"n_estimators": 100, "random_state": 0}
CASES = [
    Case("forest", "forest, 100 trees", "RandomForestClassifier", both_halves(synthetic), FOREST,
         2.0),
    Case("forest", "... in 255 stretches", "RandomForestClassifier", both_halves(synthetic),
         FOREST, 2.0, {"max_bins": 255}),
    Case("forest", "forest, regression", "RandomForestRegressor", both_halves(numbers),
         {"n_estimators": 20, "random_state": 0}, 2.0),
    Case("tree", "tree", "DecisionTreeClassifier", both_halves(synthetic), {"random_state": 0}),
    Case("tree", "tree, regression", "DecisionTreeRegressor", both_halves(numbers),
         {"random_state": 0}),
    Case("svm", "SVC, RBF", "SVC", both_halves(scaled), {}, 1.5),
    Case("svm", "LinearSVC", "LinearSVC", both_halves(scaled), {}, 1.0),
    Case("svm", "LinearSVC, hinge", "LinearSVC", both_halves(scaled),
         {"loss": "hinge", "C": 0.01, "random_state": 0}, 1.0),
    Case("linear", "logistic regression", "LogisticRegression", both_halves(scaled), {}, 1.0),
    Case("linear", "... by Newton", "LogisticRegression", both_halves(scaled),
         {"solver": "newton-cholesky"}, 1.0),
    Case("linear", "ridge", "Ridge", both_halves(scaled), {}),
]


def timed(function: Callable[[], Any], clock: Callable[[], float] = time.perf_counter,
          repeats: int = 1) -> float:
    """Return the least seconds of a call."""
    found = []
    for _ in range(repeats):
        start = clock()
        function()
        found.append(clock() - start)
    return min(found)


def measure(case: Case, rounds: int, threads: int, clock: Callable[[], float]) -> dict[str, Any]:
    """Fit and predict with both libraries, round by round."""
    X, y = case.data()
    half = len(X) // 2
    train, new = (X[:half], y[:half]), X[half:]
    times: dict[str, list[float]] = {}
    scores: dict[str, float] = {}
    for _ in range(rounds):
        for name, model in (("here", case.here()), ("there", case.there(threads))):
            fit = timed(lambda: model.fit(*train), clock)  # noqa: B023
            predict = timed(lambda: model.predict(new), clock, 5)  # noqa: B023
            times.setdefault(f"fit_{name}", []).append(fit)
            times.setdefault(f"predict_{name}", []).append(predict)
            if name not in scores:
                scores[name] = float(model.score(new, y[half:]))
    if scores["here"] < scores["there"] - 0.005:
        raise SystemExit(f"{case.name}: scores {scores['here']:.4f}, scikit-learn "
                         f"{scores['there']:.4f}")
    ratio = {what: median(b / a for a, b in zip(times[f"{what}_here"], times[f"{what}_there"],
                                               strict=True)) for what in ("fit", "predict")}
    return {"part": case.part, "case": case.name, "threads": threads, "rounds": rounds,
            "goal": case.goal, "first_fit": times["fit_here"][0], "scores": scores,
            **{f"{name}_seconds": median(found) for name, found in times.items()},
            "fit_times": ratio["fit"], "predict_times": ratio["predict"]}


def resident() -> int:
    """Return the bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def forest_memory(ours: bool, threads: int, options: dict[str, Any], N: int, pipe: Any) -> None:
    """In a process of its own: make the table, fit, send seconds and peak."""
    me.set_num_threads(threads)
    case = Case("memory", "", "RandomForestClassifier", synthetic, options)
    model = case.here() if ours else case.there(threads)
    small = np.random.default_rng(0).normal(size=(100, 50)).astype(np.float32)
    model.fit(small, small[:, 0] > 0)  # what imports and threads take is no cost of the table
    before = resident()
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 50), np.float32)
    y = (X[:, :10].sum(axis=1) + X[:, 10] * X[:, 11] + rng.standard_normal(N, np.float32) > 0)
    seconds = timed(lambda: model.fit(X, y))
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipe.send({"seconds": seconds, "peak": (peak - before) / X.nbytes})


def memory(threads: int, N: int, trees: int) -> list[dict[str, Any]]:
    """Fit forests on a large table, each in a fresh process; returns time and peak of each."""
    options = {"n_estimators": trees, "random_state": 0, "min_samples_leaf": 5}
    context = multiprocessing.get_context("spawn")
    results = []
    for name, ours in (("here", True), ("scikit-learn", False)):
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=forest_memory,
                                  args=(ours, threads, options, N, writer))
        process.start()
        writer.close()  # so that a process that dies is seen
        found = reader.recv()
        process.join()
        print(f"{N:,} x 50, {trees} trees, {name:12}: fit {found['seconds']:7.1f} s, peak "
              f"{found['peak']:5.2f} x the table", flush=True)
        results.append({"part": "memory", "case": name, "rows": N, "threads": threads,
                        "options": options, **found})
    return results


def main() -> None:
    """Measure the chosen parts, print a table, write JSON."""
    parts = [*dict.fromkeys(case.part for case in CASES)]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("parts", nargs="*", help=", ".join(parts))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processor-time", action="store_true",
                        help="all threads' seconds on processors; for machines with other work")
    parser.add_argument("--memory", action="store_true", help="the large forest instead")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large forest")
    parser.add_argument("--trees", type=int, default=10, help="of the large forest")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    me.set_num_threads(options.threads)
    out = options.json or Path(f"benchmarks/out/estimators{'_memory' * options.memory}.json")
    results = memory(options.threads, options.rows, options.trees) if options.memory else []
    if not options.memory:
        print(f"{'case':28} {'fit here':>9} {'there':>8} {'ratio':>6} {'predict':>9} {'there':>8} "
              f"{'ratio':>6} {'score':>7} {'there':>7}")
    for case in () if options.memory else CASES:
        if case.part not in (options.parts or parts):
            continue
        clock = time.process_time if options.processor_time else time.perf_counter
        found = measure(case, options.rounds, options.threads, clock)
        results.append(found)
        print(f"{case.name:28} {found['fit_here_seconds']:9.3f} {found['fit_there_seconds']:8.3f} "
              f"{found['fit_times']:6.2f} {found['predict_here_seconds']:9.4f} "
              f"{found['predict_there_seconds']:8.4f} {found['predict_times']:6.2f} "
              f"{found['scores']['here']:7.4f} {found['scores']['there']:7.4f}", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({
        "command": "python -m benchmarks.estimators " + " ".join(sys.argv[1:]), **machine(),
        "results": results}, indent=2) + "\n")
    print(f"written: {out}")


if __name__ == "__main__":
    main()
