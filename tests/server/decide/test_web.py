"""Labels of URLs, and what a query says of a class's parameters."""
from __future__ import annotations

import hashlib

import pytest

from windlass import exception
from windlass.server.decide import web

SPEC = {"kind": "asgi", "label": "", "custom_domains": [], "requires_proxy_auth": False}


def label(app="shop", tag="cart", method="", suffix="", dev="", own=""):
    return web.host_label("local", suffix, app, tag, method, {**SPEC, "label": own}, dev=dev)


def test_a_label_is_made_of_workspace_app_and_function():
    assert label() == "local--shop-cart"
    assert label(tag="Cart.*", method="add_item") == "local--shop-cart-add-item"
    assert label(suffix="staging", dev="dev") == "local-staging--shop-cart-dev"
    assert label(app="My Shop_2", tag="a.b") == "local--my-shop-2-a-b"
    assert label(own="mine", dev="dev") == "local--mine-dev"


def test_a_label_that_is_too_long_is_cut_and_told_apart_by_a_digest():
    whole = "local--" + "a" * 60 + "-cart"
    cut = label(app="a" * 60)
    assert len(cut) == 63
    assert cut == whole[:56] + "-" + hashlib.sha256(whole.encode()).hexdigest()[:6]
    assert label(app="a" * 60, dev="dev") != cut
    assert len(label(app="a" * (63 - len("local---cart")))) == 63


@pytest.mark.parametrize(
    "kind, text, value",
    [("str", "x", "x"), ("int", "-12", -12), ("bool", "True", True), ("bool", "0", False), ("bytes", "aGk=", b"hi")],
)
def test_parameters_are_read_from_a_query(kind, text, value):
    assert web.read_parameter("p", kind, text) == value


@pytest.mark.parametrize(
    "kind, text, wanted",
    [
        ("int", "1.5", "int"), ("int", "", "int"), ("int", "9" * 5000, "int"), ("bool", "maybe", "true or false"),
        ("bytes", "a", "bytes in base64"),
    ],
)  # fmt: skip
def test_what_is_no_value_of_its_type_is_refused(kind, text, wanted):
    with pytest.raises(exception.InvalidError, match=f"'p' must be {wanted}, not"):
        web.read_parameter("p", kind, text)
