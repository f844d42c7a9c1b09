"""What the commands do with run folders: train, predict, evaluate, synthesize."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..errors import DataError, MissingExtraError, ParameterError, say
from ..io import read_json, write_json
from ..io.files import write_atomically
from ..training.evaluation import Score
from . import deep, generative
from .cohort import Cohort
from .folder import Stopped, csv_text, new_folder, system_of, write_rows
from .judging import SYSTEMS, judge
from .pictures import draw_evaluation, draw_subgroups
from .report import floor_line, score_lines, write_report
from .subgroups import by_subgroup, require_columns, subgroup_lines

__all__ = ["SYSTEMS", "alone", "evaluate", "predict", "stopped", "synthesize", "train",
           "train_gan"]


def train(name: str, given: dict[str, Any], out: str | None, resume: str | None) -> int:
    """Train a system and say what came out."""
    system = SYSTEMS[name]
    alone(given, out, resume)
    try:
        run = deep.train(system, deep.Options(**given), out, resume, given.get("epochs"))
    except KeyboardInterrupt as stop:
        return stopped(name, stop)
    held = run.config["patients"]["held out"]
    print(f"held out: {held} samples of {run.config['source']}")
    print("\n".join([*score_lines(run.scores), *subgroup_lines(run.subgroups)]))
    label, floor = system.models[run.config["options"]["model"]].floor or system.floor
    if run.config["options"]["data"] is None and label in run.scores:
        print(floor_line(label, run.scores[label].value, floor))
    for note in run.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"written: {', '.join(sorted(p.name for p in run.folder.iterdir() if p.is_file()))} in "
          f"{run.folder}")
    if run.interrupted:
        print(f"interrupted; the model is that of the best epoch so far. Go on with:\n"
              f"  medai train {name} --resume {run.folder}")
    print(f"next: open {run.folder / 'report.html'}, or predict new samples:\n"
          f"  medai predict {run.folder} --data PATH")
    return 130 if run.interrupted else 0


def alone(given: dict[str, Any], out: str | None, resume: str | None) -> None:
    """Refuse options beside --resume: those of the run count."""
    others = sorted(set(given) - {"epochs"}) + ["out"] * (out is not None)
    if resume is not None and others:
        raise ParameterError(say("--resume", "the options of that run, and at most --epochs",
                                 ", ".join(f"--{o.replace('_', '-')}" for o in others),
                                 "Leave them out, or train anew without --resume"))


def stopped(name: str, stop: KeyboardInterrupt) -> int:
    """Say how a run that was stopped before its scores were written goes on; return the code."""
    way = f"; go on with: medai train {name} --resume {stop.folder}" if isinstance(
        stop, Stopped) else ""
    print(f"\nmedai: interrupted{way}", file=sys.stderr)
    return 130


def predict(folder: str, data: str, out: str | None) -> int:
    """Write predictions of new samples as CSV; score them where the outcomes are known."""
    run = deep.load_run(folder, SYSTEMS)
    cohort = run.system.read(data, run.config)
    found = run.outputs(cohort)
    text = csv_text(*deep.predictions(run, cohort, found))
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomically(out, text.encode())
        print(f"written: predictions of {len(found)} samples in {out}")
    for note in cohort.notes:
        print(f"note: {note}", file=sys.stderr)
    if len(cohort.y) == len(found):
        print("known outcomes:\n" + "\n".join(score_lines(run.system.scores(cohort, found))),
              file=sys.stderr)
    return 0


def evaluate(folder: str, data: str | None, by: list[str] | None = None,
             patients: str | None = None, out: str | None = None) -> int:
    """Print the scores of a run on its held-out samples, or on new ones with outcomes.

    Parameters
    ----------
    folder, data, patients
        See ``judge``.
    by : list of str, optional
        Columns by which the samples are scored apart as well.
    out : str, optional
        A new folder for scores, predictions, figure and report.
    """
    if data is None:
        for name, value in (("--by", by), ("--out", out)):
            if value:
                raise ParameterError(say("evaluate", f"--data PATH with {name}", "none",
                                         "Pass the data; the run folder has what training wrote "
                                         "of the held-out samples (train with --by)"))
        print("\n".join([f"{folder}: held out", *score_lines(saved(folder))]))
        for line in subgroup_lines(read_json(Path(folder) / "metrics.json").get("subgroups", {})):
            print(line)
        return 0
    part, found, score, title = judge(folder, data, patients)
    require_columns(part.about, by)
    scores, groups = score(part, found), by_subgroup(score, part, found, by)
    print(f"{folder}: {len(found)} samples of {data}")
    print("\n".join([*score_lines(scores), *subgroup_lines(groups)]))
    if out is not None:
        options = {"run": folder, "data": data, "patients": patients, "by": by}
        keep(new_folder(out, "evaluation"), title, options, part, found, scores, groups)
    for note in part.notes:
        print(f"note: {note}", file=sys.stderr)
    return 0


def keep(place: Path, title: str, options: dict[str, Any], part: Cohort, found: np.ndarray,
         scores: dict[str, Score], groups: dict[str, Any]) -> None:
    """Write what new samples say of a run: scores, predictions, figures and report."""
    told = SimpleNamespace(
        folder=place, classes=part.classes, notes=part.notes, subgroups=groups, scores=scores,
        interrupted=False, system=SimpleNamespace(title=f"{title}: new samples"),
        config={"options": options, "source": options["data"], "target": part.target,
                "patients": {"in all": len(found)}})
    write_json(place / "metrics.json", {
        **options, "scores": {name: s._asdict() for name, s in scores.items()},
        "subgroups": groups})
    write_rows(place / "predictions.csv", *deep.predictions(told, part, found))
    try:
        draw_evaluation(part, found, place / "evaluation.png",
                        f"{options['run']} on {options['data']}")
        draw_subgroups(groups, place / "subgroups.png")
    except MissingExtraError as error:
        part.notes.append(f"no plots: {error}")
    write_report(told, of="samples that the run was given afterwards")
    print(f"written: {', '.join(sorted(p.name for p in place.iterdir()))} in {place}")


def saved(folder: str) -> dict[str, Score]:
    """Return the held-out scores that a run wrote."""
    system_of(folder)
    path = Path(folder) / "metrics.json"
    if not path.is_file():
        raise DataError(say(folder, "a finished run with metrics.json", "none",
                            "Finish it with --resume"))
    found = read_json(path)
    held = found.get("held_out", {
        f"{group} {name}": value for group, values in found.items() if isinstance(values, dict)
        for name, value in values.items()})
    intervals = held.get("interval_95", {})
    scores = {}
    for name, value in held.items():
        if isinstance(value, dict) and "value" in value:
            scores[name] = Score(**value)
        elif isinstance(value, (int, float)):
            low, high = intervals.get(name, (value, value))
            scores[name] = Score(float(value), float(low), float(high), "")
    return scores


def train_gan(given: dict[str, Any], out: str | None, resume: str | None) -> int:
    """Train the generator of synthetic cases and say how useful and how safe they are."""
    alone(given, out, resume)
    try:
        found = generative.train_synthesis(generative.SynthesisOptions(**given), out,
                                           resume=resume, epochs=given.get("epochs"))
    except KeyboardInterrupt as stop:
        return stopped("synthesize", stop)
    tell(found["usefulness"], found["privacy"])
    folder = found["folder"]
    if "data" not in given and resume is None:
        print(floor_line("accuracy of samples", found["usefulness"]["accuracy_of_samples"],
                         generative.FLOOR))
    for note in found["notes"]:
        print(f"note: {note}", file=sys.stderr)
    print(f"written: {', '.join(sorted(p.name for p in folder.iterdir() if p.is_file()))} in "
          f"{folder}")
    if found["interrupted"]:
        print(f"interrupted; the generator is that of the last whole epoch. Go on with:\n"
              f"  medai train synthesize --resume {folder}")
    print(f"next: medai synthesize {folder} -n 500")
    return 130 if found["interrupted"] else 0


def tell(useful: dict[str, float] | None, private: dict[str, float]) -> None:
    """Print what samples are worth."""
    if useful is not None:
        print(f"a classifier trained on samples alone is right on "
              f"{useful['accuracy_of_samples']:.1%} of the held-out real cases (on real ones: "
              f"{useful['accuracy_of_real']:.1%})")
    print(f"copies of training cases: {private['copies']} of {private['samples']}; median distance "
          f"to the nearest training case {private['distance_to_training']:.3f}, to the nearest "
          f"held-out case {private['distance_to_held_out']:.3f}; membership inference AUC "
          f"{private['membership_auc']:.3f} (0.5: nothing to be learned)")


def synthesize(folder: str, n: int, out: str | None, seed: int) -> int:
    """Write n made-up cases as NPZ, after checking them against the real ones."""
    generator, config = generative.load_generator(folder)
    samples, labels = generative.synthesize(generator, n, seed)
    options = generative.SynthesisOptions(**config["options"])
    x, y, _ = generative.cases(options)
    rows, held = generative.split_stratified(y, generative.HELD_OUT, options.seed)
    flat = x.reshape(len(x), -1)
    found = generative.privacy(samples, flat[rows], flat[held])
    tell(None, found)
    if found["copies"]:
        print(f"note: {found['copies']} samples lie on training cases: do not give them away",
              file=sys.stderr)
    path = Path(out or Path(folder) / f"synthetic-{n}.npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x=samples.reshape(-1, *config["shape"]), y=labels)
    print(f"written: {n} cases in {path}")
    return 0
