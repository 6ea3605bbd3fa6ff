"""A table reads the same as HTML and as text."""

from xml.etree import ElementTree

from medbook.tables import Table

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
