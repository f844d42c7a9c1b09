"""Options, Hypothesis profiles and markers of the whole suite."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile("quick", max_examples=8, deadline=None, derandomize=True,
                          suppress_health_check=QUIET)
settings.register_profile("ci", max_examples=40, deadline=None, suppress_health_check=QUIET)
settings.register_profile("deep", max_examples=1000, deadline=None, suppress_health_check=QUIET)
settings.load_profile("quick")  # --hypothesis-profile=deep chooses another


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))


@pytest.fixture
def browser(tmp_path: Path) -> Callable[[Path], str]:
    """Return a function that opens a page in headless Chromium and returns its final text.

    It fails on any message in the page's console; what a page may not load is said there too.
    """
    if not shutil.which("chromium"):
        pytest.skip("no headless browser is installed")

    def opened(path: Path) -> str:
        found = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
             "--no-first-run", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
             "--enable-logging=stderr", "--dump-dom", f"file://{path}"],
            capture_output=True, text=True, timeout=120, check=True)
        assert "CONSOLE" not in found.stderr
        return found.stdout

    return opened
