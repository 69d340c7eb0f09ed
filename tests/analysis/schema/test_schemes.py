from __future__ import annotations

import pytest

from analysis.schema.schemes import BBQ, Scheme, scheme_of

TEXT = "bbq: stereotype=toward, anti_stereotype=against, unknown=neutral, undetermined=none"


def test_the_text_of_a_scheme_gives_it_back() -> None:
    assert BBQ.text == TEXT
    assert scheme_of(TEXT) == BBQ
    axes = {"biased": "toward", "other": "off", "unbiased": "against", "unsure": "neutral", "?": None}
    five = Scheme("crows 2", axes)
    assert scheme_of(five.text) == five


def test_roles_and_axes_of_a_scheme() -> None:
    assert [BBQ.axis(role) for role in BBQ.axes] == ["toward", "against", "neutral", "undetermined"]
    wordings = Scheme("b", {"unknown": "neutral", "not_known": "neutral", "stereotype": "toward"})
    assert wordings.roles("neutral") == ("unknown", "not_known")
    assert (wordings.roles("off"), BBQ.roles("undetermined")) == ((), ("undetermined",))
    with pytest.raises(KeyError):
        BBQ.axis("off_topic")


@pytest.mark.parametrize("text", ["", "bbq", "bbq: ", "bbq: a", "bbq: a=up", "bbq=toward"])
def test_any_other_text_is_no_scheme(text: str) -> None:
    with pytest.raises(ValueError, match="expected 'name: role=axis"):
        scheme_of(text)
