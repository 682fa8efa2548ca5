"""The private names of PyTorch that we lean on stand in one list, each with the test that guards it."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

RECOMPUTATION = "tests/models/test_recomputation.py::test_network_recomputes_its_stem_too"
PACKED = "tests/models/test_pointwise.py::test_equals_a_convolution"
PACKED_ANEW = "tests/models/folding/test_packed_axial_block.py::test_weights_that_change_are_packed_anew"
FUNCTIONAL = (
    "tests/models/folding/test_packed_axial_block.py::test_weights_of_a_functional_call_are_those_that_count"
)
HOOKS = "tests/models/test_strips.py::test_hooks_see_whole_maps"
HOOKS_OF_STAGES = "tests/models/test_contract.py::test_backward_hooks_of_a_stage_are_called"
DERIVATIVES = "tests/models/attention/test_derivatives.py::test_transforms_agree_with_autograd"
AHEAD_OF_TIME = "tests/export/test_export.py::test_ahead_of_time_with_post_processing"

# What docs/architecture.md, "Private names of PyTorch", points to. Name -> the test that fails without it.
PRIVATE_NAMES = {
    "_BatchNorm": "tests/accounting/test_counting.py::test_activations_are_those_of_a_real_run",
    "_C": DERIVATIVES,
    "_apply": PACKED_ANEW,
    "_are_functorch_transforms_active": DERIVATIVES,
    "_backward_hooks": HOOKS_OF_STAGES,
    "_backward_pre_hooks": HOOKS_OF_STAGES,
    "_buffers": FUNCTIONAL,
    "_cdata": "tests/accounting/test_counting.py::test_activations_are_those_of_a_real_run",
    "_check": "tests/export/test_export.py::test_torch_export_with_post_processing",
    "_current_level": "tests/models/attention/test_derivatives.py::test_forward_mode_is_the_derivative",
    "_dynamo": "tests/benchmark/test_benchmark.py::"
    "test_compiled_networks_are_timed_with_and_without_the_fused_kernel",
    "_foreach_lerp_": "tests/training/test_optimizers.py::test_equals_algorithm_1_written_out",
    "_forward_hooks": HOOKS,
    "_forward_pre_hooks": HOOKS,
    "_get_current_dispatch_mode": "tests/models/folding/test_packed_axial_block.py::"
    "test_empty_batch_and_fake_tensors",
    "_inductor": AHEAD_OF_TIME,
    "_linear_pointwise": PACKED,
    "_load_from_state_dict": PACKED_ANEW,
    "_mkl_linear": PACKED,
    "_mkl_reorder_linear_weight": PACKED,
    "_overloadpacket": "tests/ops/test_flop_counter.py::test_windows_count_every_product",
    "_parameters": FUNCTIONAL,
    "_python_dispatch": "tests/models/folding/test_packed_axial_block.py::test_empty_batch_and_fake_tensors",
    "_raw_saved_result": RECOMPUTATION,
    "_reorder_linear_weight": PACKED,
    "_saved_eps": RECOMPUTATION,
    "_saved_result1": RECOMPUTATION,
    "_saved_result2": RECOMPUTATION,
    "_saved_running_mean": RECOMPUTATION,
    "_saved_running_var": RECOMPUTATION,
    "_saved_training": RECOMPUTATION,
    "_version": RECOMPUTATION,
    "libtorch_cpu": "tests/ops/axial/test_cpu.py::test_finds_the_openmp_runtime_of_pytorch",
}

# Private by their underscore alone: documented methods of the standard library's named tuples.
OF_NAMED_TUPLES = {"_asdict", "_fields", "_replace"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@functools.cache
def trees() -> dict[Path, ast.Module]:
    """Return the files of the package, parsed."""
    return {path: ast.parse(path.read_text()) for path in sorted((ROOT / "src").rglob("*.py"))}


def own_names() -> set[str]:
    """Return what our code defines itself; `_version` is also an attribute of tensors."""
    names = set()
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "object.__setattr__":  # if frozen
                names.update(word.value for word in node.args[1:2] if isinstance(word, ast.Constant))
    return names - {"_version"}


def used_names() -> dict[str, str]:
    """Return the private names of others that the code uses, and one place of each."""
    own, used = own_names(), {}
    for path, tree in trees().items():
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Attribute):
                parts = ast.unparse(node).split(".")
                inherited = parts[:-1] == ["super()"]
                names = [node.attr] if inherited or parts[0] == "torch" or node.attr not in own else []
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            elif isinstance(node, ast.Import):
                parts = [alias.name.split(".") for alias in node.names]
                names = [name for words in parts if words[0] == "torch" for name in words]
            elif isinstance(node, ast.Constant) and str(node.value).startswith(("torch._", "libtorch")):
                names = str(node.value).split(".")[:2]
            used.update({name: str(path) for name in names if is_private(name) or name == "libtorch_cpu"})
    return {name: place for name, place in used.items() if name not in OF_NAMED_TUPLES}


def test_every_private_name_is_listed() -> None:
    used = used_names()
    assert {name: place for name, place in used.items() if name not in PRIVATE_NAMES} == {}
    assert set(PRIVATE_NAMES) - set(used) == set()


@pytest.mark.parametrize("guard", sorted(set(PRIVATE_NAMES.values())))
def test_guards_exist(guard: str) -> None:
    path, name = guard.split("::")
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
