"""The page's languages: files that follow one table."""

import importlib
import json
import os

import pytest

LANGUAGES = ["en", "zh", "ja", "ko", "de", "fr", "es", "ru"]


@pytest.fixture
def labels(node_module):
    return node_module("labels")


@pytest.fixture
def nodes(pack):
    return importlib.import_module(f"{pack.__name__}.nodes").NODES


def test_each_row_has_a_word_for_each_language(labels):
    assert list(labels.labels()) == LANGUAGES
    for words in labels.labels().values():
        assert all(word.strip() == word != "" for word in words.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_files_follow_the_table(labels, nodes, language):
    """`REWRITE_LOCALES=1 nox -s comfyui -- tests/nodes/test_labels.py` writes them anew."""
    path = labels.LOCALES / language / "nodeDefs.json"
    expected = labels.node_definitions(nodes, language)
    if os.environ.get("REWRITE_LOCALES"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(expected, ensure_ascii=False, indent=2) + "\n", "utf-8")
    assert json.loads(path.read_text("utf-8")) == expected


def test_english_words_are_the_nodes_own(labels, nodes):
    used = set()
    for node in nodes:
        schema = node.GET_SCHEMA()
        assert labels.labels()["en"][schema.node_id] == schema.display_name
        for item in schema.inputs:
            # No label for what is its own: the page would put it on an upload's button, too.
            assert (item.display_name or item.id) == labels.labels()["en"][item.id]
            assert item.display_name != item.id
        inputs, outputs = schema.inputs, schema.outputs
        used |= {schema.node_id, *(i.id for i in inputs), *(o.display_name for o in outputs)}
    assert used == set(labels.labels()["en"])


def test_a_search_finds_the_nodes_that_do_it(nodes):
    schemas = [node.GET_SCHEMA() for node in nodes]
    known = [schema for schema in schemas if hasattr(schema, "search_aliases")]  # not on 0.3.75
    found = {schema.node_id for schema in known if "sbs" in schema.search_aliases}
    assert found == ({"DreamStereoConvertVideo", "DreamStereoPack"} if known else set())
