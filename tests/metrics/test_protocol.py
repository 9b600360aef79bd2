"""The protocol block: complete, refusing unknown rules, readable."""

import json

import pytest

from irstd_jax.metrics import Protocol

SET = {"set": "nuaa_sirst", "split": "213/214", "part": "test", "count": 214}
FIELDS = (
    "set split part count hash size_rule threshold matching mask_rule rule views seed "
    "sampler steps samples ensemble weights empty_rule"
).split()


def test_the_block_goes_to_json_and_back():
    protocol = Protocol(**SET, hash="ab12", sampler="ddim", steps=10, seed=3)
    block = json.loads(json.dumps(protocol.as_dict()))
    assert list(block) == FIELDS
    assert Protocol(**block) == protocol


def test_the_rule_of_a_saliency_is_told():
    text = Protocol(**SET, hash="ab12", rule="peak").describe()
    assert "p > 0.5, by the rule peak; targets" in text
    assert "by the rule" not in Protocol(**SET, hash="ab12").describe()


def test_views_are_told_where_there_are_several():
    text = Protocol(**SET, hash="ab12", views=4).describe()
    assert "p > 0.5, the mean over 4 views; targets" in text
    assert "views" not in Protocol(**SET, hash="ab12").describe()


def test_the_description_names_what_moves_the_score():
    text = Protocol(
        **SET,
        hash="ab12",
        threshold=0.2845,
        size_rule="resized to 256",
        matching="shooting",
        sampler="ddim",
        steps=10,
        seed=3,
        samples=5,
        ensemble="staple",
        weights="step 80000, EMA",
    ).describe()
    words = "214 test|213/214|ab12|0.2845|resized to 256|shooting|> 127|scores 1"
    words += "|ddim with 10 steps|seed 3|5 sample|staple|step 80000, EMA"
    for word in words.split("|"):
        assert word in text
    assert "\n" not in text


def test_a_detector_samples_nothing():
    assert "nothing was sampled" in Protocol(**SET, hash="ab12").describe()


@pytest.mark.parametrize("field", ["matching", "empty_rule"])
def test_unknown_rules_are_refused(field):
    with pytest.raises(ValueError, match="'other'; choose from"):
        Protocol(**SET, hash="ab12", **{field: "other"})
