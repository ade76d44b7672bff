from __future__ import annotations

from windlass import call_graph


def node(name, parent=None, status="success"):
    return {
        "input_id": name, "call_id": "fc", "parent_input_id": parent, "container_id": None, "status": status,
        "function_name": name, "module_name": "m",
    }  # fmt: skip


def test_children_hang_below_their_parent_and_the_rest_are_roots():
    roots = call_graph.tree([node("b", "a"), node("a", "unknown"), node("c", "a"), node("d")])
    assert [root.input_id for root in roots] == ["a", "d"]
    assert [child.input_id for child in roots[0].children] == ["b", "c"]


def test_unknown_states_count_as_pending():
    (root,) = call_graph.tree([node("a", status="resting")])
    assert root.status is call_graph.InputStatus.PENDING
