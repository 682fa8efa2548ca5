"""Fixtures that find the golden numbers and the real data sets."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Triton reads it on import: without a CUDA device its kernels run in an interpreter, on the CPU.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# The same examples in every run: a change is judged by what it changed, not by its luck.
settings.register_profile("deterministic", derandomize=True)
settings.load_profile("deterministic")

HERE = Path(__file__).parent
# The large golden files and the real photographs are not part of the repository.
SHARED = Path(os.environ.get("AXIAL_DEEPLAB_SHARED", HERE.parent.parent / "shared"))


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Path]:
    """Return the path of a golden file or folder; skip where a large one is absent."""

    def find(name: str) -> Path:
        for folder in (HERE / "golden", SHARED / "golden"):
            if (folder / name).exists():
                return folder / name
        pytest.skip(
            f"golden file {name} is not in the repository; set AXIAL_DEEPLAB_SHARED to the folder that has it"
        )

    return find


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Return the folder of a real data set; skip where it is absent."""

    def find(name: str) -> Path:
        folder = SHARED / "data" / name
        if not folder.exists():
            pytest.skip(
                f"data set {name} is absent; set AXIAL_DEEPLAB_SHARED to the folder that has data/{name}"
            )
        return folder

    return find
