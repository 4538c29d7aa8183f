"""Indexes of other packages: faiss (inverted lists, navigable graphs) and ScaNN. They are imported when one is made, and run on the CPU.

They hold copies of the rows, in float32. In a state_dict an index is one tensor: its serialised bytes in 32-bit words.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from engines import extras
from engines.toolbox.search.index import Found, Index, best_of, missing_length, query_for_rows, rows_with_bias

FAISS, SCANN = ("faiss",), ("scann",)


def unavailable(packages: tuple[str, ...], where: str = "") -> str:
    """Why an index cannot be made here, as a sentence; the empty string where it can. where: what else is to be known of its package."""
    missing = extras.missing(packages)
    return f"It needs the package {', '.join(missing)}, not installed here: {extras.advice(missing)}{where}." if missing else ""


@torch.library.custom_op("workbench::searched_by_package", mutates_args=())
def searched_by_package(ids_NK: Tensor) -> Tensor:
    """The ids, as they are. Whoever counts operations sees this one, and so that a package has done others that nobody counted."""
    return ids_NK.clone()


class LibraryIndex(Index):
    """An index that lives in another package's object, `live`, which state_dict and copies carry as bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.live: Any = None

    def pack(self) -> bytes:
        """`live`, serialised."""
        raise NotImplementedError

    def unpack(self, data: bytes) -> Any:
        raise NotImplementedError

    def share(self, built: Index) -> None:
        assert isinstance(built, LibraryIndex)
        self.live = built.live

    def own_bytes(self) -> int:
        return 0 if self.live is None else len(self.pack())

    def get_extra_state(self) -> Tensor:
        data = b"" if self.live is None else self.pack()
        # The length first, since the words are padded.
        words = np.frombuffer(len(data).to_bytes(8, "little") + data + b"\0" * (-len(data) % 4), dtype=np.int32)
        return torch.from_numpy(words.copy())

    def set_extra_state(self, state: Tensor) -> None:
        raw = state.cpu().numpy().tobytes()
        length = int.from_bytes(raw[:8], "little")
        self.live = self.unpack(raw[8 : 8 + length]) if length else None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"live": None if self.live is None else self.pack()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.live = None if state["live"] is None else self.unpack(state["live"])


class FaissIndex(LibraryIndex):
    """lists: inner products with the rows of the `probed` of `lists` clusters (Jegou et al. 2011). graph: a walk on a navigable small-world
    graph (Malkov, Yashunin 2018) with a beam of `probed`, over rows made equally long (augmented) or over inner products as they are.

    size: clusters, or neighbours a row in the graph. breadth: beam while the graph is built.
    """

    def __init__(
        self, kind: Literal["lists", "graph"], *, size: int, probed: int, breadth: int = 80, augmented: bool = True, seed: int = 0
    ) -> None:  # fmt: skip
        super().__init__()
        self.kind, self.size, self.probed, self.breadth, self.augmented, self.seed = kind, size, probed, breadth, augmented, seed

    @property
    def longer(self) -> bool:
        """Whether rows and queries have one more number, the length that a row lacks."""
        return self.kind == "graph" and self.augmented

    def refresh(self, W_VE: Tensor, b_V: Tensor | None = None, C_EE: Tensor | None = None) -> None:
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
        rows = rows_with_bias(W_VE.detach(), None if b_V is None else b_V.detach()).float()
        if self.longer:
            rows = torch.cat((rows, missing_length(rows)), dim=1)
        rows_VF = rows.cpu().contiguous().numpy()
        width = rows_VF.shape[1]
        live: Any
        if self.kind == "lists":
            lists = min(self.size, len(rows_VF))
            live = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
            live.cp.seed = self.seed + 1
            # Fewer rows a cluster than faiss would like is no fault of a vocabulary: no warning.
            live.cp.min_points_per_centroid = 1
            live.train(rows_VF)
        else:
            live = faiss.IndexHNSWFlat(width, self.size, faiss.METRIC_L2 if self.longer else faiss.METRIC_INNER_PRODUCT)
            live.hnsw.efConstruction = self.breadth
        live.add(rows_VF)
        self.live = live

    def _tuned(self, live: Any) -> Any:
        """The same with this one's effort; several may share it."""
        if self.kind == "lists":
            live.nprobe = min(self.probed, live.nlist)
        else:
            live.hnsw.efSearch = self.probed
        return live

    def search(self, h_NE: Tensor, k: int, W_VE: Tensor, b_V: Tensor | None = None) -> Found:
        import faiss

        # faiss counts its threads itself; a comparison with torch on one thread is one with faiss on one.
        faiss.omp_set_num_threads(torch.get_num_threads())
        queries = query_for_rows(h_NE.detach(), b_V).float()
        if self.longer:
            queries = torch.cat((queries, queries.new_zeros(len(queries), 1)), dim=1)
        _, ids_NK = self._tuned(self.live).search(queries.cpu().contiguous().numpy(), k)
        return best_of(h_NE, searched_by_package(torch.from_numpy(ids_NK)).to(h_NE.device), k, W_VE, b_V)

    def pack(self) -> bytes:
        import faiss

        return bytes(faiss.serialize_index(self.live).tobytes())

    def unpack(self, data: bytes) -> Any:
        import faiss

        return faiss.deserialize_index(np.frombuffer(data, dtype=np.uint8).copy())


class ScannIndex(LibraryIndex):
    """Guo et al. (2020), anisotropic vector quantisation: the `probed` of `leaves` clusters, scored by quantised rows, `candidates` of them
    reordered by exact products. It uses one thread."""

    def __init__(self, leaves: int, probed: int, candidates: int) -> None:
        super().__init__()
        self.leaves, self.probed, self.candidates = leaves, probed, candidates

    def refresh(self, W_VE: Tensor, b_V: Tensor | None = None, C_EE: Tensor | None = None) -> None:
        from scann.scann_ops.py import scann_ops_pybind

        rows_VF = rows_with_bias(W_VE.detach(), None if b_V is None else b_V.detach()).float().cpu().contiguous().numpy()
        leaves = min(self.leaves, len(rows_VF))
        builder = scann_ops_pybind.builder(rows_VF, 1, "dot_product")
        builder = builder.tree(num_leaves=leaves, num_leaves_to_search=min(self.probed, leaves), training_sample_size=len(rows_VF))
        # Two dimensions a code and this threshold are what its documentation advises.
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(min(self.candidates, len(rows_VF)))
        self.live = builder.build()

    def search(self, h_NE: Tensor, k: int, W_VE: Tensor, b_V: Tensor | None = None) -> Found:
        queries = query_for_rows(h_NE.detach(), b_V).float().cpu().contiguous().numpy()
        reordered = min(max(self.candidates, k), len(W_VE))
        ids_NK, _ = self.live.search_batched(
            queries, final_num_neighbors=k, pre_reorder_num_neighbors=reordered, leaves_to_search=min(self.probed, self.leaves, len(W_VE))
        )
        found = searched_by_package(torch.from_numpy(ids_NK.astype(np.int64)))
        found = found.masked_fill(found >= len(W_VE), -1).to(h_NE.device)
        return best_of(h_NE, torch.nn.functional.pad(found, (0, k - found.shape[1]), value=-1), k, W_VE, b_V)

    def pack(self) -> bytes:
        data = io.BytesIO()
        with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=data, mode="w") as archive:
            self.live.serialize(folder, relative_path=True)
            for path in sorted(Path(folder).iterdir()):
                entry = archive.gettarinfo(path, path.name)
                entry.mtime = 0
                with path.open("rb") as file:
                    archive.addfile(entry, file)
        return data.getvalue()

    def unpack(self, data: bytes) -> Any:
        from scann.scann_ops.py import scann_ops_pybind

        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(folder, filter="data")
            return scann_ops_pybind.load_searcher(folder)
