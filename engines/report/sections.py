"""The sections of a design as blocks: what each shows of the material. Markdown, LaTeX and paper are written from these."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from engines import differences, savings
from engines.profiles import doubts
from engines.report import charts, labels, profile_pictures, sentences, written
from engines.report.blocks import Block, Cell, File, Grid, Heading, Item, Picture, Report, Sentence, said
from engines.report.design import Design, Section
from engines.report.forest import forest
from engines.report.material import PRICES, Material

SIMULATED = "simulated"


def report(material: Material, design: Design) -> Report:
    """The whole of it. A section without figures is left out, unless it has a text."""
    comparison = material.comparison
    title = design.title or comparison["experiment"]
    found: list[Block] = [Heading(title, 1)]
    found += [Sentence(said(sentence), "warning") for sentence in comparison["warnings"]]
    for section in design.shown:
        found += of(material, section)
    files = [File(material.file_name(index), each.text) for index, each in enumerate(material.experiments) if each.text]
    return Report(title, found, files)


def of(material: Material, section: Section) -> list[Block]:
    """One section with its heading; nothing where it has neither figures nor a text."""
    inside = [*written.blocks(section.text), *_WRITERS[section.kind](material, section)]
    return [*([Heading(section.heading)] if section.heading else []), *inside] if inside else []


def _summary(material: Material, section: Section) -> Iterator[Block]:
    yield Sentence(said(f'Every variant is held against the baseline "{material.comparison["baseline"]}".'))
    yield from _items(sentences.headline(material.comparison))


def _verdicts(material: Material, section: Section) -> Iterator[Block]:
    comparison = material.comparison
    keys = labels.columns(comparison)
    if not keys:
        yield Sentence(said("No judging figure was measured yet."))
        return
    rows = []
    for name, variant in comparison["variants"].items():
        is_baseline = name == comparison["baseline"]
        shown = f"{name} ({labels.OVER})" if labels.over_limits(variant) else name
        rows.append([Cell(shown, strong=is_baseline), *(_cell(variant["results"].get(key), is_baseline) for key in keys)])
    caption = (
        f"{comparison['experiment']} Ratios to the baseline ({comparison['baseline']}); {comparison['level']:.0%} intervals, "
        f"margin {comparison['margin']:.1%}."
    )
    yield Grid(caption, ["variant", *(labels.short(key) for key in keys)], rows)
    yield Sentence(said(f"Value, ratio to the baseline, its {comparison['level']:.0%} interval where the data carry one, and the verdict."), "small")


def _forest(material: Material, section: Section) -> Iterator[Block]:
    comparison = material.comparison
    keys = labels.columns(comparison)
    drawing = forest(comparison, keys)
    if drawing is None:
        return
    rows = []
    for key in keys:
        for name, variant in comparison["variants"].items():
            result = variant["results"].get(key)
            if name != comparison["baseline"] and result and result["ratio"]:
                n = Cell(str(result["n"]))
                verdict = Cell(result["verdict"], verdict=result["verdict"])
                rows.append([Cell(labels.name(key)), Cell(name), Cell(labels.ratio(result)), Cell(labels.interval(result) or "-"), n, verdict])
    caption = f"Ratios to the baseline ({comparison['baseline']}) with n and {comparison['level']:.0%} intervals."
    yield Picture("ratios", drawing, Grid(caption, ["figure", "variant", "ratio", "interval", "n", "verdict"], rows))
    margin = f"The band is the margin of {comparison['margin']:.1%}; open circles have no interval; the diamond is the A/A control."
    yield Sentence(said(margin), "small")


def _tradeoff(material: Material, section: Section) -> Iterator[Block]:
    for drawing in charts.scatters(material.comparison, section.x, section.y):
        yield Picture("-".join(("tradeoff", *(_slug(drawing.attributes[axis]) for axis in ("data-y", "data-x")))), drawing)


def _savings(material: Material, section: Section) -> Iterator[Block]:
    comparison = material.comparison
    columns = savings.shown(comparison)
    others = [name for name in comparison["variants"] if name != comparison["baseline"]]
    if not columns or not others:
        return
    rows = [[Cell(name), *(_saving(savings.cell(comparison["variants"][name], *column)) for column in columns)] for name in others]
    head = ["variant", *(" ".join(savings.head(*column)) for column in columns)]
    yield Grid("What each variant saves and what it costs, as ratios to the baseline.", head, rows)
    yield Sentence(said("Ratios to the baseline. Simulated: claimed, but neither stored nor executed."), "small")


def _curves(material: Material, section: Section) -> Iterator[Block]:
    for curve in material.curves:
        yield Picture(f"curve-{_slug(curve.title)}", charts.with_legend(charts.drawn(curve), list(material.comparison["variants"])))


def _explanations(material: Material, section: Section) -> Iterator[Block]:
    comparison = material.comparison
    every = [*(columns := labels.columns(comparison)), *labels.other_keys(comparison, columns)]
    for index, (name, variant) in enumerate(comparison["variants"].items()):
        is_baseline = name == comparison["baseline"]
        yield Heading(f"{name} (baseline)" if is_baseline else name, 3, index)
        recipe = f" Recipe: {', '.join(variant['techniques'])}." if variant["techniques"] else ""
        yield Sentence(said(f"{labels.runs(variant)}: {labels.state(variant)}.{recipe}"), "small")
        yield from (Sentence(said(sentence), "failure") for sentence in labels.over_limits(variant))
        yield from (Sentence(said(sentence), "warning") for sentence in variant["notes"])
        for each in variant["failures"]:
            text = f"Run {each['run']} (seed {each['seed']}) {each['status']}. {each['reason']} {each['advice']}".rstrip()
            yield Sentence(said(text), "failure")
        yield from _items(each["sentence"] for each in variant["explanations"])
        if not is_baseline:
            yield from _items(f"{part['opening']}: {part['text']}" for part in sentences.of_variant(variant, every))
        yield from _items(f"{effect['technique']} ({effect['hook']}): {effect['sentence']}" for effect in variant["effects"])


def _differences(material: Material, section: Section) -> Iterator[Block]:
    comparison = material.comparison
    for index, (name, variant) in enumerate(comparison["variants"].items()):
        if variant["differences"]:
            yield Heading(name, 3, index)
            rows = [[Cell(each["key"]), Cell(differences.text(each["old"])), Cell(differences.text(each["new"]))] for each in variant["differences"]]
            yield Grid(f"What {name} does otherwise than the baseline.", ["key", comparison["baseline"], name], rows, plain=True)


def _profiles(material: Material, section: Section) -> Iterator[Block]:
    order = list(material.comparison["variants"])
    for name, profile in material.profiles.items():
        yield Heading(name, 3, order.index(name))
        if reasons := doubts(profile):
            yield Sentence(said(f"Its times are a hint and no more. {' '.join(reasons)}"))
        for kind in ("flame", "memory", "roofline"):
            if drawing := getattr(profile_pictures, kind)(profile):
                yield Picture(f"{kind}-{order.index(name) + 1}-{_slug(name)}", drawing)
        rows = [
            [
                Cell(row["name"]), Cell(f"{row['share']:.0%}" if row["share"] is not None else "-"),
                *(Cell(labels.figure(row[key])) for key in ("forward_ms", "backward_ms", "parameters")), Cell(row["bound"] or "-"),
            ]
            for row in profile_pictures.layers(profile)
        ]  # fmt: skip
        if rows:
            yield Grid(f"Layers of {name} by time.", ["layer", "share", "forward ms", "backward ms", "parameters", "limited by"], rows)


def _price(material: Material, section: Section) -> Iterator[Block]:
    variants = material.comparison["variants"]
    keys = [key for key in PRICES if any(key in variant["results"] for variant in variants.values())]
    if keys:
        rows = [
            [Cell(name), *(_cell(variant["results"].get(key), name == material.comparison["baseline"]) for key in keys)]
            for name, variant in variants.items()
        ]
        yield Grid("What it took to make each variant.", ["variant", *(labels.short(key) for key in keys)], rows)


def _figures(material: Material, section: Section) -> Iterator[Block]:
    comparison = material.comparison
    keys = labels.other_keys(comparison, [*labels.columns(comparison), *PRICES])
    if keys:
        rows = [
            [Cell(labels.name(key)), *(_cell(v["results"].get(key), name == comparison["baseline"]) for name, v in comparison["variants"].items())]
            for key in keys
        ]
        yield Grid("Everything that was measured.", ["figure", *comparison["variants"]], rows)


def _method(material: Material, section: Section) -> Iterator[Block]:
    yield from _items(sentences.method(material.comparison))
    controls = sentences.controls(material.comparison)
    if controls:
        yield Sentence(said("A/A control, the baseline timed against itself in the same rounds:"))
        yield from _items(controls)
    else:
        yield Sentence(said("No interleaved timing session was made, so figures of speed and latency are shown without a verdict."))


def _machine(material: Material, section: Section) -> Iterator[Block]:
    for machine in material.machines:
        yield Grid("Machine.", ["", "fact"], [[Cell(key), Cell(value)] for key, value in machine.items()], plain=True)
    if not material.machines:
        yield Sentence(said("No machine was recorded."))
    yield from _items(f"{name}: {text}" for name, text in sentences.conditions(material.comparison.get("conditions", {})))
    yield from (Sentence(said(sentence), "small") for sentence in material.remarks)


def _experiment(material: Material, section: Section) -> Iterator[Block]:
    for index, each in enumerate(material.experiments):
        name = material.file_name(index)
        folder = f" Relative paths were read from {each.folder}." if each.folder else ""
        yield Sentence(said(f"Save as {name}, then: workbench run {name}.{folder} Digest {each.digest[:16]}."))
        yield File(name, each.text)


_WRITERS: Mapping[str, Callable[[Material, Section], Iterator[Block]]] = {
    "summary": _summary, "text": lambda material, section: iter(()), "verdicts": _verdicts, "forest": _forest, "tradeoff": _tradeoff,
    "savings": _savings, "curves": _curves, "explanations": _explanations, "differences": _differences, "profiles": _profiles, "price": _price,
    "figures": _figures, "method": _method, "machine": _machine, "experiment": _experiment,
}  # fmt: skip


def _items(texts: Any) -> Iterator[Block]:
    yield from (Item(said(text)) for text in texts)


def _cell(result: Mapping[str, Any] | None, is_baseline: bool) -> Cell:
    if result is None:
        return Cell("-")
    value = labels.figure(result["value"])
    if is_baseline:
        return Cell(value, strong=True)
    verdict = result["verdict"] if result["better"] != "none" else ""
    return Cell(value, labels.ratio(result), labels.interval(result), verdict)


def _saving(row: Mapping[str, Any] | None) -> Cell:
    if row is None or row["ratio"] is None:
        return Cell("-")
    return Cell(labels.times(row["ratio"]), verdict=SIMULATED if row["simulated"] else row["verdict"])


def _slug(text: str) -> str:
    """Part of a file's name."""
    plain: Sequence[str] = re.findall(r"[a-z0-9]+", text.lower())
    return "-".join(plain)[:40].strip("-")
