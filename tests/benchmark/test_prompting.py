import pytest

from bindspace.benchmark.prompting import expand
from bindspace.contract.errors import UserError


def test_a_set_stands_for_its_lines():
    found = expand({"default": ["clip"], "label": ["clip7", "heard: {}"]})
    assert len(found["default"]) == 80
    assert "a photo of a {}." in found["default"]
    assert len(found["label"]) == 8
    assert found["label"][-1] == "heard: {}"


def test_a_file_of_the_users_has_one_template_a_line(tmp_path):
    (tmp_path / "mine.txt").write_text("# a remark\nthe {}\n\none {} here\n")
    assert expand({"default": [str(tmp_path / "mine.txt")]}) == {"default": ["the {}", "one {} here"]}


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (["clib"], "unknown set of templates 'clib': did you mean 'clip'"),
        (["none.txt"], "cannot read none.txt"),
        ([], "expected templates with {} for 'default', got none"),
    ],
)
def test_what_is_no_template_gets_a_sentence(items, said):
    with pytest.raises(UserError, match=said):
        expand({"default": items})


def test_a_line_without_a_place_for_the_class_is_named(tmp_path):
    (tmp_path / "mine.txt").write_text("the {}\nthe thing\n")
    with pytest.raises(UserError, match=r"has a line without \{\}: 'the thing'"):
        expand({"default": [str(tmp_path / "mine.txt")]})
