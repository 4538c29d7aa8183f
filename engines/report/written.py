"""A person's Markdown as blocks of a report. Tags in it are words, pictures are left out: they would have to be loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from engines.report.blocks import Block, Cell, File, Grid, Heading, Item, Sentence, Span

RULE = "* * *"


@cache
def reader() -> MarkdownIt:
    """Reads Markdown, the same for every format."""
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def html(text: str) -> str:
    """As HTML, headings below those of a section."""
    tokens = reader().parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, _level(token))}"
    return str(reader().renderer.render(tokens, reader().options, {}))


def _level(heading: Token) -> int:
    return max(3, int(heading.tag[1:]) + 1)


def blocks(text: str) -> Iterator[Block]:
    """Headings become those within a section; a list in a list is indented."""
    lists: list[tuple[str, int]] = []  # (ordered or bullet, number of the next entry)
    quoted = 0
    fresh = False  # whether the next paragraph is the first of an entry
    tokens = reader().parse(text)
    for index, token in enumerate(tokens):
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                lists.append((token.type.partition("_")[0], int(token.attrGet("start") or 1)))
            case "bullet_list_close" | "ordered_list_close":
                lists.pop()
            case "list_item_open":
                fresh = True
            case "blockquote_open":
                quoted += 1
            case "blockquote_close":
                quoted -= 1
            case "heading_open":
                words = "".join(span.text for span in _spans(tokens[index + 1]))
                yield Heading(words, _level(token))
            case "paragraph_open":
                spans = _spans(tokens[index + 1])
                if lists:
                    kind, number = lists[-1]
                    mark = f"{number}." if kind == "ordered" else ""
                    yield Item(spans, len(lists) - 1, mark if fresh else " ")
                    if fresh:
                        lists[-1] = (kind, number + 1)
                    fresh = False
                else:
                    yield Sentence(spans, "quote" if quoted else "")
            case "fence" | "code_block":
                yield File("", token.content.rstrip("\n"))
            case "hr":
                yield Sentence([Span(RULE)], "small")
            case "table_open":
                yield _grid(tokens[index:])


def _grid(tokens: Sequence[Token]) -> Grid:
    rows: list[list[Cell]] = []
    for index, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append(Cell("".join(span.text for span in _spans(tokens[index + 1]))))
        elif token.type == "table_close":
            break
    return Grid("", [cell.text for cell in rows[0]], rows[1:], plain=True)


def _spans(inline: Token) -> list[Span]:
    found: list[Span] = []
    look = Span("")
    for token in inline.children or ():
        match token.type:
            case "text" | "text_special" | "code_inline":
                found.append(replace(look, text=token.content, code=token.type == "code_inline"))
            case "softbreak" | "hardbreak":
                found.append(replace(look, text="\n" if token.type == "hardbreak" else " "))
            case "strong_open" | "strong_close":
                look = replace(look, strong=token.type == "strong_open")
            case "em_open" | "em_close":
                look = replace(look, slanted=token.type == "em_open")
            case "link_open":
                look = replace(look, link=str(token.attrGet("href") or ""))
            case "link_close":
                look = replace(look, link="")
    return [span for span in found if span.text]
