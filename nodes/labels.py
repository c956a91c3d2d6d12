"""What the page calls nodes, inputs and outputs, in each language, from one table.

ComfyUI reads `locales/<language>/nodeDefs.json`; those files are this table's, sorted by nodes.
"""

from functools import cache
from pathlib import Path
from typing import Any

from comfy_api.latest import io

LOCALES = Path(__file__).resolve().parents[1] / "locales"
ENGLISH = "en"


@cache
def labels() -> dict[str, dict[str, str]]:
    """Return each language's labels by the name of the node, input or output."""
    lines = (LOCALES / "labels.tsv").read_text(encoding="utf-8").splitlines()
    (_, *languages), *rows = (line.split("\t") for line in lines)
    return {
        language: {key: words[i] for key, *words in rows} for i, language in enumerate(languages)
    }


def label_inputs(inputs: list[io.Input]) -> None:
    """Give inputs their English label, which the page shows where it has no translation.

    One that is the input's own name is left out: the page would write it on an upload's button,
    too, in the place of what the button does.
    """
    for item in inputs:
        label = labels()[ENGLISH].get(item.id)
        item.display_name = None if label == item.id else label


def node_definitions(nodes: list[type[io.ComfyNode]], language: str) -> dict[str, Any]:
    """Return what `locales/<language>/nodeDefs.json` has to hold."""
    words = labels()[language]
    definitions = {}
    for node in nodes:
        schema = node.GET_SCHEMA()
        definitions[schema.node_id] = {
            "display_name": words[schema.node_id],
            "inputs": {item.id: {"name": words[item.id]} for item in schema.inputs},
            "outputs": {
                str(i): {"name": words[item.display_name]} for i, item in enumerate(schema.outputs)
            },
        }
    return definitions
