"""The compiled kernels: which files, which flags. Everything else is in pyproject.toml."""

import os
import shutil
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("MEDAI_KERNEL_DEBUG") == "1"
SANITIZE = os.environ.get("MEDAI_SANITIZE") == "1"

# No flag above the baseline: the vector texts choose instruction sets themselves (simd/every_isa.h)
# and write fused multiply-adds out.
FLAGS = ["-O3", "-g0", "-std=gnu11", "-ffp-contract=off", "-fno-math-errno"]
FLAGS += ["-fno-trapping-math", "-Wno-unused-function"]
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
}
MACROS = [
    ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
    ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
]
if DEBUG:
    FLAGS += ["-g", "-UNDEBUG"]
    MACROS.append(("MEDAI_KERNEL_DEBUG", "1"))
SANITIZERS = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"] if SANITIZE else []


class BuildKernels(build_ext):
    """Compile in parallel; without a compiler build nothing, with one fail on any error."""

    def run(self):
        """Translate with Cython, then compile."""
        from setuptools._distutils.ccompiler import new_compiler
        from setuptools._distutils.sysconfig import customize_compiler

        compiler = new_compiler(compiler=self.compiler)
        customize_compiler(compiler)
        command = getattr(compiler, "compiler_so", None)
        if not command or not shutil.which(command[0]):
            print("medai_engine: no C compiler found, the NumPy reference kernels will run")
            self.extensions = []
            return
        import numpy
        from Cython.Build import cythonize

        self.parallel = self.parallel or min(os.cpu_count() or 1, len(self.extensions))
        for extension in self.extensions:
            extension.include_dirs.append(numpy.get_include())
        translated = cythonize(
            self.extensions,
            compiler_directives=DIRECTIVES,
            nthreads=self.parallel,
            force=self.force,
            quiet=True,
        )
        for extension, result in zip(self.extensions, translated, strict=True):
            extension.sources = result.sources
        super().run()


# Through the package's link, so that an sdist, which has no top-level kernels/, builds as well.
SHARED = glob("medai_engine/kernels/simd/*.[hi]*")
KERNELS = [
    Extension(
        ".".join(Path(source).with_suffix("").parts),
        [source],
        include_dirs=["medai_engine/kernels/simd", str(Path(source).parent)],
        depends=SHARED + glob(f"{Path(source).parent}/*.[hi]*"),
        define_macros=MACROS,
        extra_compile_args=FLAGS + SANITIZERS,
        extra_link_args=SANITIZERS,
    )
    for source in sorted(glob("medai_engine/kernels/*/*.pyx"))
]

if __name__ == "__main__":  # Cython's worker processes may import this file
    setup(ext_modules=KERNELS, cmdclass={"build_ext": BuildKernels})
