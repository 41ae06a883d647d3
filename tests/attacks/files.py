"""Hostile files, as a stranger would publish them: all are refused or stopped with an error of ours."""

from __future__ import annotations

import io
import pickle
import stat
import zipfile
import zlib

import numpy as np
from onnx import TensorProto, helper


class Payload:
    def __reduce__(self):
        return print, ("a pickle has run",)


def graph(nodes, *, domain="", initializers=(), width=4, output=("n", 4), functions=()):
    inputs = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", width])]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, list(output))]
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    made = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    return helper.make_model(made, opset_imports=opsets, ir_version=8, functions=functions).SerializeToString()


def constant(name, values, kind=TensorProto.FLOAT):
    return helper.make_tensor(name, kind, np.shape(values), np.ravel(values).tolist())


def identity():
    return graph([helper.make_node("Identity", ["rows"], ["out"])])


def endless():
    """out = rows, after 2^62 turns of a loop."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Sin", ["x"], ["y"])], "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        ],
    )  # fmt: skip
    loop = helper.make_node("Loop", ["turns", "yes", "rows"], ["out"], body=body)
    return graph(
        [loop], initializers=[constant("turns", 2**62, TensorProto.INT64), constant("yes", True, TensorProto.BOOL)]
    )


def bomb():
    """Fills 32 GiB before it answers."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["big"], value=constant("v", [1.0])),
        helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=0),
        helper.make_node("Add", ["rows", "sum"], ["out"]),
    ]
    return graph(nodes, initializers=[constant("shape", [2**33], TensorProto.INT64)])


def external():
    weights = constant("w", [1.0, 1.0, 1.0, 1.0])
    weights.ClearField("float_data")
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return graph([helper.make_node("Add", ["rows", "w"], ["out"])], initializers=[weights])


def local_function():
    made = helper.make_function(
        "local", "F", ["x"], ["y"], [helper.make_node("Sin", ["x"], ["y"])], [helper.make_opsetid("", 17)]
    )
    return graph([helper.make_node("F", ["rows"], ["out"], domain="local")], domain="local", functions=[made])


def nested():
    inner = helper.make_graph([helper.make_node("Sin", ["rows"], ["y"])], "g", [], [])
    for _ in range(20):
        inner = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=inner)], "g", [], [])
    return graph([helper.make_node("If", ["rows"], ["out"], then_branch=inner)])


def archive(entries, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for entry, data in entries:
            made.writestr(entry, data)
    return file.getvalue()


def linked():
    entry = zipfile.ZipInfo("weights.npy")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return archive([("schema.json", "{}"), (entry, "/etc/passwd")])


def untrusted():
    """A skops file that asks for a function of the standard library."""
    schema = (
        '{"__class__": "system", "__module__": "posix", "__loader__": "FunctionNode", "__id__": 1, "protocol": 1,'
        ' "content": "posix.system", "_skops_version": "0.13.0"}'
    )
    return archive([("schema.json", schema)])


def pickled_program():
    config = '{"config": {"w": {"path_name": "weight_0", "is_param": true, "use_pickle": true, "tensor_meta": null}}}'
    return archive([
        ("archive/models/model.json", "{}"),
        ("archive/archive_format", "pt2"),
        ("archive/data/weights/model_weights_config.json", config),
        ("archive/data/weights/weight_0", pickle.dumps(Payload())),
    ])  # fmt: skip


FORMATS, INSPECT, LIMITS, NODE = "formats.detect", "the format's own checks", "rlimits", "the node"

# name: (bytes, outcome, layer); below the strong rung all but ONNX is refused by the ladder
FILES: dict[str, tuple[bytes, str, str]] = {
    **{f"pickle, protocol {k}": (pickle.dumps(Payload(), k), "ModelRefused", FORMATS) for k in range(6)},
    "joblib, zlib": (zlib.compress(pickle.dumps(Payload())), "ModelRefused", FORMATS),
    "torch.save": (archive([("a/data.pkl", pickle.dumps(Payload()))]), "ModelRefused", FORMATS),
    "pickle with a word of ONNX": (pickle.dumps(Payload()) + identity(), "ModelRefused", FORMATS),
    "Python code": (b"import os\ndef predict(rows):\n    os.system('id')\n", "ModelRefused", "own models only"),
    "zip slip": (archive([("schema.json", "{}"), ("../../evil", "x")]), "ModelRefused", FORMATS),
    "absolute path in a zip": (archive([("schema.json", "{}"), ("/etc/evil", "x")]), "ModelRefused", FORMATS),
    "symbolic link in a zip": (linked(), "ModelRefused", FORMATS),
    "zip bomb": (archive([("schema.json", bytes(256 << 20))]), "ModelRefused", FORMATS),
    "very many entries": (archive([(f"e{k}", "") for k in range(5000)]), "ModelRefused", FORMATS),
    "broken zip": (b"PK\x03\x04" + bytes(200), "ModelRefused", FORMATS),
    "nothing": (b"", "ModelRefused", FORMATS),
    "half an ONNX": (identity()[:-7], "ModelRefused", FORMATS),
    "a long number": (b"\x08" + b"\xff" * 5000, "ModelRefused", FORMATS),
    "an untrusted type in skops": (untrusted(), "ModelRefused", INSPECT),
    "a pickled weight in torch.export": (pickled_program(), "ModelRefused", INSPECT),
    "ONNX external data": (external(), "ModelRefused", INSPECT),
    "ONNX custom domain": (
        graph([helper.make_node("Evil", ["rows"], ["out"], domain="evil")], domain="evil"), "ModelRefused", INSPECT),
    "ONNX local function": (local_function(), "ModelRefused", INSPECT),
    "ONNX nested deeply": (nested(), "ModelRefused", INSPECT),
    "ONNX endless loop": (endless(), "SandboxLimit", NODE),
    "ONNX memory bomb": (bomb(), "ModelError", LIMITS),
    "ONNX of another shape": (
        graph([helper.make_node("Concat", ["rows", "rows"], ["out"], axis=1)], output=("n", "m")), "ModelError", NODE),
    "ONNX giving NaN": (graph([helper.make_node("Log", ["rows"], ["out"])]), "ModelError", NODE),
    "LightGBM garbage": (b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=99999999999\n" * 9,
                         "ModelRefused", INSPECT),
    "XGBoost garbage": (b"{L\0\0\0\0\0\0\0\x07learner" + b"\xff" * 500, "ModelRefused", INSPECT),
    "XGBoost nested deeply": (b'{"learner":' + b"[" * 200_000, "ModelError", NODE),
    "safetensors that lie about their length": (
        (80).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[99999999],"data_offsets":[0,399999996]}}'.ljust(79)
        + b"}", "ModelRefused", INSPECT),
}  # fmt: skip
