"""A graph in onnxruntime on the CPU, without torch; and the memory of a process that holds nothing else.

    python -m engines.runtime.onnxgraph --graph FILE --values FILE.npz --threads N

prints the peak of its resident memory while it judges text, in MiB, as one line of JSON; null where the system cannot tell.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engines import probes

PASSES = 8
"""As many as bring the peak: buffers are made in the first."""


class GraphError(RuntimeError):
    """onnxruntime refused a graph, or failed in it: in its own words, one line of them."""


class Graph:
    """Values stay in onnxruntime's own memory from call to call: nothing is copied inside a timed window.

    Making and calling one raise GraphError, and MemoryError.
    """

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except MemoryError:
            raise
        except Exception as error:
            # Its exceptions have no base of their own.
            raise _told(error) from error
        self._value = onnxruntime.OrtValue.ortvalue_from_numpy
        self.inputs = [each.name for each in self._session.get_inputs()]
        self.outputs = [each.name for each in self._session.get_outputs()]

    def value(self, array: np.ndarray) -> Any:
        """An array as onnxruntime keeps it."""
        return self._value(array)

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """Outputs for inputs, both in their order, as onnxruntime's values."""
        named = dict(zip(self.inputs, values, strict=True))
        try:
            found: list[Any] = self._session.run_with_ort_values(self.outputs, named)
        except MemoryError:
            raise
        except Exception as error:
            raise _told(error) from error
        return found


def _told(error: Exception) -> GraphError:
    words = str(error).strip().splitlines()
    return GraphError(words[0] if words else type(error).__name__)


def peak_mib(graph: Path, values: Path, threads: int) -> float | None:
    """What `main` prints, of a process of its own; None where the system cannot tell. Raises RuntimeError with the last words of one that failed."""
    command = [sys.executable, "-m", "engines.runtime.onnxgraph", "--graph", str(graph), "--values", str(values), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise RuntimeError(f"onnxruntime failed in a process of its own: {last[0]}")
    peak: float | None = json.loads(done.stdout)
    return peak


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engines.runtime.onnxgraph")
    parser.add_argument("--graph", type=Path, required=True)
    parser.add_argument("--values", type=Path, required=True, help="inputs by name")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(argv)
    graph = Graph(arguments.graph, arguments.threads)
    with np.load(arguments.values) as arrays:
        values = [graph.value(arrays[name]) for name in graph.inputs]
    clean = probes.reset_peak()
    for _ in range(PASSES):
        graph(values)
    sys.stdout.write(json.dumps(probes.peak_resident_mib() if clean else None) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
