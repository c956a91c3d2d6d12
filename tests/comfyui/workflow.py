"""The UI format of a workflow, and what the page makes of it when the user presses Run."""

import json
from pathlib import Path

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NOTES = ("Note", "MarkdownNote")
MUTED = 2
CONTROL = "control_after_generate"
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", DYNAMIC_COMBO)


def load_workflow(name: str) -> dict:
    return json.loads((WORKFLOWS / f"{name}.json").read_text())


def real_nodes(workflow: dict) -> list[dict]:
    return [node for node in workflow["nodes"] if node["type"] not in NOTES]


def widget_names(info: dict) -> list[str]:
    """The widgets of a node in the order of the page, those that the page adds included."""
    names = []
    for group in ("required", "optional"):
        uploads = 0
        for name, (kind, *options) in info["input"].get(group, {}).items():
            settings = options[0] if options else {}
            if isinstance(kind, list) or kind in WIDGET_TYPES:
                names.append(name)
                if settings.get("control_after_generate"):
                    names.append(CONTROL)
                uploads += any(settings.get(f"{media}_upload") for media in ("image", "video"))
        names += ["upload"] * min(uploads, 1)
    return names


def saved_names(node: dict, object_info: dict) -> list[str]:
    """The widgets whose values a saved node has: newer cores may have added others behind them."""
    names = widget_names(object_info[node["type"]])
    assert len(names) >= len(node["widgets_values"]), (node["type"], names)
    return names[: len(node["widgets_values"])]


def choices(kind, settings: dict) -> list | None:
    """What a widget offers, None where it is no list."""
    options = kind if isinstance(kind, list) else settings.get("options")
    return [option["key"] for option in options] if kind == DYNAMIC_COMBO else options


def to_prompt(workflow: dict, object_info: dict) -> dict:
    """Turn the UI format into the API format, as the page's graphToPrompt does."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in real_nodes(workflow):
        if node["mode"] == MUTED:
            continue
        names = saved_names(node, object_info)
        values = dict(zip(names, node["widgets_values"], strict=True))
        values.pop("upload", None)
        values.pop(CONTROL, None)
        linked = {i["name"]: links[i["link"]] for i in node["inputs"] if i["link"] is not None}
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": values | linked}
    return prompt
