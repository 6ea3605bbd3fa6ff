"""A table reads the same as HTML and as text."""

from xml.etree import ElementTree

from medbook.evaluate.stats import VERDICTS
from medbook.show.tables import Table, Verdict

TABLE = Table(["arm", "acc < 1"], [["clean & <b>", 0.84], ["ρ", None]], 'Says "all".')


def test_text() -> None:
    assert repr(TABLE) == 'Says "all".\narm | acc < 1\nclean & <b> | 0.84\nρ | None'


def test_html_is_well_formed_and_says_the_same() -> None:
    table = ElementTree.fromstring(TABLE._repr_html_())
    assert table.findtext("caption") == 'Says "all".'
    heads = table.findall("thead/tr/th")
    assert [h.text for h in heads] == ["arm", "acc < 1"]
    assert {h.get("scope") for h in heads} == {"col"}
    rows = [[cell.text for cell in row.findall("td")] for row in table.findall("tbody/tr")]
    assert rows == [["clean & <b>", "0.84"], ["ρ", "None"]]


def test_an_empty_table_has_a_head() -> None:
    table = ElementTree.fromstring(Table(["arm"], [], "None yet.")._repr_html_())
    assert table.findall("tbody/tr") == []
    assert repr(Table(["arm"], [], "None yet.")) == "None yet.\narm"


def test_a_verdict_is_marked_in_html_and_plain_in_text() -> None:
    table = Table(["claim", "verdict"], [["one", Verdict("not tested <yet>")]], "Verdicts.")
    mark = ElementTree.fromstring(table._repr_html_()).find("tbody/tr/td/span")
    assert mark is not None and (mark.text, mark.tail) == ("not tested", " <yet>")
    assert repr(table).endswith("one | not tested <yet>")


def test_every_verdict_has_its_own_mark() -> None:
    marks = [Verdict(verdict)._repr_html_() for verdict in VERDICTS]
    assert [ElementTree.fromstring(mark).text for mark in marks] == list(VERDICTS)
    assert len({ElementTree.fromstring(mark).get("class") for mark in marks}) == len(VERDICTS)
