"""The package as users get it: sdist, wheel, editable, and without a compiler.

Each test installs into a throwaway environment that borrows this one's dependencies, so nothing is
fetched.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
SOURCES = {".py", ".pyx", ".pxd", ".h", ".inc", ".md"}

CHECK = """
import os, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numpy as np
    import medai_engine as me
    from medai_engine import kernels
print("WHERE", os.path.dirname(me.__file__))
print("COMPILED", kernels.COMPILED)
print("WARNED", sum("C compiler" in str(w.message) for w in caught))
print("REPORT", " ".join(kernels.report().split()))
a = me.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
y = (me.matmul(a, a) * a).sum()
y.backward()
assert float(y.detach().numpy()) == 7 * 1 + 10 * 2 + 15 * 3 + 22 * 4, y
assert a.grad.shape == (2, 2) and np.isfinite(a.grad.numpy()).all()
assert me.random.normal((3, 4)).shape == (3, 4)
"""


@pytest.fixture
def tree(tmp_path):
    """Return a copy of the sources with nothing generated in it."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md"):
        shutil.copy(ROOT / name, copy)
    skip = shutil.ignore_patterns("*.so", "*.c", "__pycache__", "*.egg-info")
    for name in ("kernels", "medai_engine"):
        if (ROOT / name).is_dir():  # an unpacked sdist has no top-level kernels
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=skip)
    return copy


@pytest.fixture
def python(tmp_path):
    """Return the interpreter of a new environment that finds this one's dependencies."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    interpreter = folder / "bin" / "python"
    site = subprocess.run(
        [interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True).stdout.strip()
    Path(site, "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return interpreter


def run(*command, cwd, **environment):
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MEDAI_ISA")}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=clean | environment,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def install(python, *what, cwd, **environment):
    return run(python, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation",
               "--disable-pip-version-check", "-v", *what, cwd=cwd, **environment)


def check(python, cwd):
    lines = [line.split(" ", 1) for line in run(python, "-c", CHECK, cwd=cwd).splitlines()]
    return {line[0]: line[1] for line in lines if len(line) == 2}


def test_sdist_and_wheel(tree, python, tmp_path):
    """A wheel built from the sdist, used with the sources gone."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", tree,
        cwd=tmp_path)
    sdist, = (tmp_path / "dist").glob("*.tar.gz")
    wheel, = (tmp_path / "dist").glob("*.whl")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    packed = [name for name in names if name.startswith("medai_engine/")]
    assert not [name for name in names if name.startswith("kernels/")], "kernels twice"
    expected = {str(path.relative_to(ROOT))
                for path in ROOT.glob("medai_engine/**/*") if path.suffix in SOURCES}
    expected |= {f"medai_engine/kernels/{path.relative_to(ROOT / 'kernels')}"
                 for path in ROOT.glob("kernels/**/*") if path.suffix in SOURCES}
    assert not expected - set(names)
    with zipfile.ZipFile(wheel) as archive:
        installed = set(archive.namelist())
    assert not expected - installed
    for name in [*packed, *installed]:
        assert not name.endswith((".c", ".pyc")), f"{name}: generated"
    kernels = {name.rpartition("/")[0] for name in installed if name.endswith("/fast.pyx")}
    compiled = {name.rpartition("/")[0] for name in installed
                if "/fast." in name and name.endswith(".so")}
    assert kernels == compiled
    assert kernels
    assert wheel.stat().st_size <= 8 << 20

    shutil.rmtree(tree)
    install(python, wheel, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    found = check(python, elsewhere)
    assert Path(found["WHERE"]).is_relative_to(tmp_path / "environment")
    assert found["COMPILED"] == "True"
    assert found["WARNED"] == "0"
    assert "reference" not in found["REPORT"]
    run(python.with_name("medai"), "--help", cwd=elsewhere)
    run(python, "-m", "medai_engine", "--help", cwd=elsewhere)


def test_editable(tree, python, tmp_path):
    """An editable install runs from the tree, compiled, and sees edits."""
    install(python, "-e", tree, cwd=tmp_path)
    found = check(python, tmp_path)
    assert Path(found["WHERE"]) == tree / "medai_engine"
    assert found["COMPILED"] == "True"
    with open(tree / "kernels" / "gemm" / "reference.py", "a") as file:
        file.write("\nEDITED = True\n")
    run(python, "-c", "from medai_engine.kernels.gemm.reference import EDITED", cwd=tmp_path)


def test_without_a_compiler(tree, python, tmp_path):
    """The install succeeds and says so; the reference kernels run, with one warning."""
    log = install(python, tree, cwd=tmp_path, CC="no-such-compiler")
    assert log.count("no C compiler found") >= 1
    shutil.rmtree(tree)
    found = check(python, tmp_path)
    assert found["COMPILED"] == "False"
    assert found["WARNED"] == "1"
    assert "reference" in found["REPORT"]


def test_a_compile_error_is_fatal(tree, python, tmp_path):
    """With a compiler there is no silent fall to the slow kernels."""
    for source in tree.glob("kernels/*/*.pyx"):  # one is enough, and quicker
        if source.name != "isa.pyx":
            source.unlink()
    with open(tree / "kernels" / "simd" / "isa.h", "a") as file:
        file.write("\n#error broken on purpose\n")
    with pytest.raises(AssertionError, match="broken on purpose"):
        install(python, tree, cwd=tmp_path)
