"""Reads YAML whose blocks come to an end: the parser itself accepts a block that contains itself through an alias."""

import yaml


class Endless(yaml.YAMLError):
    """A block contains itself, or blocks are nested too deeply; its text is the reason, with a line where known."""


def compose(text: str) -> yaml.Node | None:
    """The nodes of YAML text, without loops; None for an empty text. Raises YAMLError."""
    return _composed(yaml.SafeLoader(text))


def load(text: str):
    """The values in YAML text. Raises YAMLError."""
    loader = yaml.SafeLoader(text)
    node = _composed(loader)
    return None if node is None else loader.construct_document(node)


def _composed(loader: yaml.SafeLoader) -> yaml.Node | None:
    try:
        node = loader.get_single_node()
        _demand_an_end(node, set(), set())
    except RecursionError:
        raise Endless("its blocks are nested too deeply") from None
    return node


def _demand_an_end(node: yaml.Node | None, above: set[int], checked: set[int]) -> None:
    """Raise Endless when a node is below itself. above: the ids of the nodes that contain it."""
    if not isinstance(node, yaml.CollectionNode) or id(node) in checked:
        return
    if id(node) in above:
        raise Endless(f"line {node.start_mark.line + 1}: the block contains itself through an alias (*)")
    above.add(id(node))
    for entry in node.value:
        for part in entry if isinstance(entry, tuple) else (entry,):
            _demand_an_end(part, above, checked)
    above.discard(id(node))
    checked.add(id(node))
