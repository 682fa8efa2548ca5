"""Weights of ONNX files in half precision, with which a runtime computes in single precision."""

from typing import Any

import numpy as np

# The numbers of ONNX's types.
FLOAT = 1


def store_in_half(model: Any) -> None:
    """Store the matrices and kernels of an ONNX model that lose nothing by it in half precision, in place.

    Casts make them float32 again; ONNX Runtime executes these once, when it opens the file.

    Args:
        model: an `onnx.ModelProto`.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != FLOAT or values.ndim < 2:
            continue
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if np.array_equal(halves.astype(np.float32), values):
            name = tensor.name
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=FLOAT))
            tensor.CopyFrom(numpy_helper.from_array(halves, f"{name}_half"))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
