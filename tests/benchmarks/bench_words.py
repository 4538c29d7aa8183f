"""Skip-gram with negative sampling through the engine against gensim, on one text with the same settings: words a second, and how good.

Both read the same words (vectors of 100, window 5, 5 negatives from the counts to the 0.75, subsampling at 1e-3, learning rate 0.025 a pair
falling to nothing, 5 epochs), in turns, each in a process of its own with one thread that works. gensim updates after every pair and has a
second thread that prepares sentences; the engine takes batches of several hundred words whose negatives are a shared sample, with row
gradients. Words are those of the text before subsampling, a word read in five epochs counted five times. The engine's time is that of its
training loop; gensim's that of `train`.

How good: Spearman's rho on WordSim-353 and SimLex-999 with bootstrap intervals, and how many of the ten nearest words of 500 frequent ones
both share, beside what two seeds of gensim share.

    python -m tests.benchmarks words [TEXT] [ROUNDS]

TEXT: a file in UTF-8, of which words are cut in lower case; without it the hundred articles of Wikipedia, half a million words, that gensim
brings for its own tests.
"""

from __future__ import annotations

import bz2
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from engines.statistics import median_ratio
from engines.toolbox.words import not_words

WIDTH, WINDOW, NEGATIVES, SUBSAMPLE, RATE, EPOCHS = 100, 5, 5, 1e-3, 0.025, 5
BATCH, SEQUENCE, SAMPLES = 32, 16, 64
STD = 0.5 / WIDTH / 3**0.5
"""Of the first numbers of a vector: that of word2vec's uniform ones."""
ROUNDS = 3
PROBED = slice(50, 550)


def main(wanted: list[str]) -> None:
    rounds = int(wanted.pop()) if wanted and wanted[-1].isdigit() else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        tell(measured(_corpus(Path(folder), wanted[0] if wanted else ""), rounds, Path(folder)))


def measured(corpus: dict[str, Any], rounds: int, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Of "engine" and "gensim", of every round: {"words_per_s", "words_per_cpu_s", "lists", "vectors"}."""
    found: dict[str, list[dict[str, Any]]] = {"engine": [], "gensim": []}
    for n in range(rounds):
        for who in ("engine", "gensim") if n % 2 else ("gensim", "engine"):
            out = folder / f"{who}{n}.npy"
            command = [sys.executable, "-m", "tests.benchmarks.bench_words", "--one", who, json.dumps(corpus), str(n), str(out)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[who].append(json.loads(done.stdout.splitlines()[-1]) | {"vectors": np.load(out)})
    return found


def _corpus(folder: Path, text: str) -> dict[str, Any]:
    if not text:
        return articles(folder)
    return words_of(Path(text).read_text("utf-8"), folder)


def articles(folder: Path) -> dict[str, Any]:
    """The corpus of gensim's articles, an article a line."""
    from gensim.corpora.wikicorpus import extract_pages, filter_wiki

    with bz2.open(brought("enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2")) as dump:
        pages = (text for _, text, _ in extract_pages(dump) if not text.lower().startswith("#redirect"))
        return words_of("\n".join(" ".join(filter_wiki(page).split()) for page in pages), folder)


def brought(name: str) -> Path:
    """A file that gensim brings for its own tests."""
    import gensim as package

    return Path(package.__file__).parent / "test" / "test_data" / name


def words_of(text: str, folder: Path) -> dict[str, Any]:
    """The corpus of a text: its words in lower case, those that occur five times, in a file in the folder."""
    (folder / "words.txt").write_text(re.sub(r"[^\w\n]", " ", text.lower()), "utf-8")
    shares = {"valid_share": 0.01, "test_share": 0.01}
    return {"id": "corpora/text_files", "train": str(folder / "words.txt"), "min_count": 5, **shares}


def tell(found: dict[str, list[dict[str, Any]]]) -> None:
    speeds = {who: [each["words_per_s"] for each in rows] for who, rows in found.items()}
    for who, rows in found.items():
        print(f"{who:8} {np.median(speeds[who]):10,.0f} words/s   of processor time {np.median([each['words_per_cpu_s'] for each in rows]):10,.0f}")
    ratio = median_ratio(speeds["engine"], speeds["gensim"])
    between = f"[{ratio.low:.2f}, {ratio.high:.2f}]" if ratio.known else "(no interval)"
    print(f"engine / gensim: {ratio.value:.2f}x {between} over {ratio.n} rounds")
    for who, rows in found.items():
        for name, value in rows[0]["lists"].items():
            print(f"{who:8} {name}: {value}")
    first = [each["vectors"] for each in found["gensim"]]
    print(f"shared neighbours of ten: engine and gensim {overlap(found['engine'][0]['vectors'], first[0]):.2f}", end="")
    print(f", two seeds of gensim {overlap(first[0], first[1]):.2f}" if len(first) > 1 else "")


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    near = []
    for vectors in (one, other):
        unit_VD = F.normalize(torch.from_numpy(vectors), dim=1)
        cosine = unit_VD[PROBED] @ unit_VD.T
        cosine[torch.arange(len(cosine)), torch.arange(len(unit_VD))[PROBED]] = -2
        near.append(cosine.topk(10).indices.tolist())
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*near, strict=True)]))


# --- One process ----------------------------------------------------------------------------------------------------------------------------


def one(who: str, corpus: dict[str, Any], seed: int, out: Path) -> None:
    from engines.runtime.plan import plugin, text_of

    text = text_of(plugin(corpus), lambda sentence: None)  # type: ignore[arg-type]
    skipped = set(not_words(text.vocabulary))
    words = [int(i) for i in text.splits["train"] if int(i) not in skipped]
    torch.set_num_threads(1)
    vectors, seconds, cpu = (engine if who == "engine" else gensim)(corpus, text, words, seed)
    np.save(out, vectors)
    read = len(words) * EPOCHS
    print(json.dumps({"words_per_s": read / seconds, "words_per_cpu_s": read / cpu, "lists": _lists(vectors, text)}))


def plan(corpus: dict[str, Any]) -> dict[str, Any]:
    # The engine's loss is a mean over the pairs of a batch, gensim's step is one pair.
    pairs = BATCH * SEQUENCE * (WINDOW + 1)
    return {
        "experiment": "words", "variant": "words", "corpus": corpus, "budget": {"epochs": EPOCHS}, "device": "cpu", "threads": 1,
        "task": {"id": "tasks/word_embedding", "window": WINDOW, "subsample": SUBSAMPLE},
        "model": {
            "embedding": {"id": "embeddings/lookup", "width": WIDTH, "std": STD, "sparse": True}, "layers": [],
            "head": {"id": "softmax/negative_sampling", "samples": SAMPLES, "negatives": NEGATIVES, "bias": False, "sparse": True},
        },
        "training": {"batch": BATCH, "sequence": SEQUENCE},
        "techniques": [{"id": "optimization/sgd", "lr": RATE * pairs, "momentum": 0.0}, {"id": "optimization/linear_decay"}],
        "measure": {"evaluations": 0, "held_out_tokens": 1000, "margin": 0.02}, "targets": [], "folder": ".",
    }  # fmt: skip


def engine(corpus: dict[str, Any], text: Any, words: list[int], seed: int) -> tuple[np.ndarray, float, float]:
    from engines.runtime.rehearsal import Rehearsal
    from engines.toolbox.wordlists import vectors_of

    rehearsal = Rehearsal(plan(corpus), seed, text=text, threads=1)
    started, cpu = time.perf_counter(), time.process_time()
    while rehearsal.session.progress < 1:
        rehearsal.step()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return vectors_of(rehearsal.session.model, text.vocabulary.size).numpy(), seconds, cpu


def gensim(corpus: dict[str, Any], text: Any, words: list[int], seed: int) -> tuple[np.ndarray, float, float]:
    from gensim.models import Word2Vec

    names = [str(i) for i in words]
    sentences = [names[i : i + 1000] for i in range(0, len(names), 1000)]
    model = Word2Vec(
        vector_size=WIDTH, window=WINDOW, min_count=1, sample=SUBSAMPLE, sg=1, negative=NEGATIVES, alpha=RATE, min_alpha=0.0001, workers=1,
        seed=seed + 1,
    )  # fmt: skip
    model.build_vocab(sentences)
    started, cpu = time.perf_counter(), time.process_time()
    model.train(sentences, total_examples=len(sentences), epochs=EPOCHS)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    vectors = np.zeros((text.vocabulary.size, WIDTH), np.float32)
    for name in model.wv.index_to_key:
        vectors[int(name)] = model.wv[name]
    return vectors, seconds, cpu


def _lists(vectors: np.ndarray, text: Any) -> dict[str, str]:
    from engines.toolbox.wordlists import similarity

    told = {}
    for name in ("wordsim353.tsv", "simlex999.txt"):
        figures = similarity(torch.from_numpy(vectors), text.vocabulary, brought(name))
        told[name] = "; ".join(_figure(figure) for figure in figures)
    return told


def _figure(figure: Any) -> str:
    between = "" if figure.low is None else f" [{figure.low:.3f}, {figure.high:.3f}]"
    return f"{figure.key.split('/')[1]} {figure.value:.3f}{between}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        main(sys.argv[1:])
