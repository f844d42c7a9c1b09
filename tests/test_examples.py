"""The examples run, in small; whole (slow) they reach what they are for."""

from __future__ import annotations

import pytest

from medai_engine.examples import by_hand, dcgan

pytest.importorskip("scipy")


def test_by_hand_runs(capsys):
    by_hand.main(n=64, epochs=1)
    assert "held-out AUC" in capsys.readouterr().out


def test_dcgan_runs():
    assert dcgan.main(n=64, epochs=1) < 2


@pytest.mark.slow
def test_by_hand_diagnoses():
    assert by_hand.main() > 0.88


@pytest.mark.slow
def test_dcgan_learns_the_anatomy():
    untrained, trained = dcgan.main(n=64, epochs=1), dcgan.main()
    assert trained < 0.2 < untrained
