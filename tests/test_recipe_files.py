"""Recipes as files: names, extending, models in place of others, what is refused; and a run's, which makes it again."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from chain import contents

import acclimate
from acclimate.base.errors import AcclimateError, DataError, SettingError
from acclimate.base.files import read_toml
from acclimate.base.toml import as_toml
from acclimate.cli.main import main
from acclimate.run.recipes import load_recipe, recipe_names, write_recipe
from acclimate.run.settings import resolve
from acclimate.stages.chain import STAGES

DEFAULTS = resolve(STAGES, {})


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "mine.toml") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


def settings_of(name: str) -> dict:
    return resolve(STAGES, load_recipe(name))


def test_every_recipe_that_comes_along_resolves_and_says_what_it_is():
    assert "quick" in recipe_names()
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.description.endswith(".")
        assert "\n" not in recipe.description
        resolve(STAGES, recipe)


def test_a_recipe_of_ones_own_changes_what_it_says(write):
    assert settings_of(write('description = "x"\n[sample]\nn_docs = 5\n')) == {
        **DEFAULTS,
        "sample": {**DEFAULTS["sample"], "n_docs": 5},
    }


def test_a_recipe_extends_another_by_name_or_file_and_files_lie_beside_each_other(write):
    write('extends = "quick"\n[sample]\nn_docs = 7\n[mine]\ndepth = 9\n', "base/first.toml")
    path = write('extends = "base/first.toml"\n[mine]\ndepth = 11\n')
    settings = settings_of(path)
    assert settings["sample"]["n_docs"] == 7
    assert settings["mine"] == {**settings_of("quick")["mine"], "depth": 11}


def test_of_several_the_later_counts(write):
    small, large = write("[sample]\nn_docs = 5\n", "small.toml"), write("[sample]\nn_docs = 9\n", "large.toml")
    assert settings_of(f"quick,{small}, {large}")["sample"]["n_docs"] == 9
    assert settings_of(f"{large},{small}")["sample"]["n_docs"] == 5
    assert settings_of(f"{large},{small}")["mine"] == DEFAULTS["mine"]


def test_the_folder_of_a_run_is_its_recipe(finished):
    assert settings_of(str(finished)) == settings_of(str(finished / "recipe.toml"))


@pytest.mark.parametrize("name", ["a.toml", "b/../a.toml"])
def test_files_that_extend_each_other_in_a_circle_are_refused(write, tmp_path, name):
    (tmp_path / "b").mkdir()
    path = write('extends = "b/b.toml"\n', "a.toml")
    write(f'extends = "../{name}"\n', "b/b.toml")
    with pytest.raises(SettingError, match=r"a.toml: extends itself: .*a.toml extends .*b.toml extends .*a.toml"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('descripton = "x"', "no key named 'descripton'. Did you mean 'description'?"),
        (
            "n_docs = 5",
            "no key named 'n_docs'. There are: description, extends, source; settings are in [stage] tables",
        ),
        ("description = 5", "description is 5; expected text"),
        ("[sampel]\nn_docs = 5", "no stage named 'sampel'. Did you mean 'sample'?"),
        ("[sample]\nn_doc = 5", "no setting of sample named 'n_doc'. Did you mean 'n_docs'?"),
        ("[sample]\nn_docs = 'x'", "sample.n_docs is 'x'; expected a whole number"),
        ("[[sample]]\nn_docs = 5", "no key named 'sample'"),
        ("extends = 'quik'", "extends: no recipe (or file) named 'quik'. Did you mean 'quick'?"),
        ("extends = 'gone.toml'", "gone.toml: no such file"),
        ("extends = ['quick']", "extends is ['quick']; expected text"),
        ("[models]\nlm = 'x'", "no key of models named 'lm'. Did you mean 'llm'?"),
        ("models = 'x'", "models is 'x'; expected a table: llm, encoder, reranker, teacher"),
        ("[models]\nllm = 5", "models.llm is 5; expected the name of a model"),
        ("label.teachers = 5\nmodels.teacher = 'x'", "label.teachers is 5; expected names separated by commas"),
        ("label.teachers = [['a:b']]\nmodels.teacher = 'x'", "label.teachers is [['a:b']]; expected names"),
        ("[run]\nseed = 'x'", "run.seed is 'x'; expected a whole number"),
        ("[run]\nout = 'x'", "no key of run named 'out'"),
        ("[sample\n", "not TOML"),
    ],
)
def test_what_no_recipe_has_is_refused_with_the_file(write, text, message):
    path = write(text)
    with pytest.raises(AcclimateError, match=re.escape(message)) as error:
        resolve(STAGES, load_recipe(path))
    assert str(error.value).startswith(path)


def test_a_mistake_in_what_is_extended_names_that_file(write):
    write("[sample]\nn_doc = 5", "first.toml")
    with pytest.raises(SettingError, match=r"^[^:]*first.toml: no setting"):
        settings_of(write('extends = "first.toml"'))


@pytest.mark.parametrize("name", ["quik", "", "quick,", ",", "\0", "x" * 5000, "quick;udapdr"])
def test_a_name_that_is_no_recipe(name):
    with pytest.raises(SettingError, match=r"no recipe \(or file\) named"):
        load_recipe(name)


def test_a_file_that_is_not_there():
    with pytest.raises(DataError, match=r"quick.toml: no such file"):
        load_recipe("quick.toml")


def test_models_take_the_place_of_those_that_are_named(write):
    text = """
        extends = "quick"
        [filter]
        reranker = "some/reranker"
        [label]
        teachers = ["bm25", "cross-encoder:one", "monot5:two", "reranker"]
        [models]
        llm = "openai:x"
        encoder = "some/encoder"
        reranker = "small/reranker"
        teacher = "cross-encoder:small/teacher"
    """
    settings = settings_of(write(text))
    assert {settings[stage]["llm"] for stage in ("seed", "generate", "filter")} == {"openai:x"}
    assert (settings["distill"]["base"], settings["train"]["base"]) == ("some/encoder", "small/reranker")
    assert settings["label"]["teachers"] == ("bm25", "cross-encoder:small/teacher", "reranker")
    assert settings["filter"]["reranker"] == "cross-encoder:small/teacher"
    typed = settings_of(
        write(text.replace('["bm25", "cross-encoder:one", "monot5:two", "reranker"]', '"bm25, monot5:two"'))
    )
    assert typed["label"]["teachers"] == ("bm25", "cross-encoder:small/teacher")
    assert acclimate.recipe(write(text)).name.endswith(".toml")
    without = settings_of(write('extends = "quick"\n[models]\nteacher = "cross-encoder:x"\n', "without.toml"))
    assert without == settings_of("quick")


def test_what_is_said_of_a_setting_stands_above_it_or_behind_it(write):
    path = write(
        '[sample]\n# Section 3,\n# "Setup".\nn_docs = 5\n\n# of nothing\n\nmin_chars = 8\nexamples = "a#b" # a file\n'
        "[mine]\ndepth = 9# near\n"
    )
    assert acclimate.recipe(path).comments == {
        "sample.n_docs": 'Section 3, "Setup".',
        "sample.min_chars": "",
        "sample.examples": "a file",
        "mine.depth": "near",
    }
    extended = acclimate.recipe(write(f'extends = "{path}"\n[mine]\ndepth = 10\n', "second.toml"))
    assert extended.comments["sample.examples"] == f"a file ({path})"
    assert extended.comments["mine.depth"] == ""


@pytest.mark.parametrize("name", recipe_names())
def test_what_is_shown_is_the_recipe_as_a_file(name, capsys, write):
    assert main(["recipes", "show", name]) == 0
    shown = capsys.readouterr().out
    assert settings_of(write(shown)) == settings_of(name)
    changed, _, same = shown.partition("# As by default")
    defaults = {f"{stage}.{key} = {as_toml(value)}" for stage, of in DEFAULTS.items() for key, value in of.items()}
    assert not any(line.partition("  #")[0] in defaults for line in changed.splitlines())
    assert all(line.partition("  #")[0] in defaults for line in same.strip().splitlines())


def test_the_list_has_every_recipe_with_its_paper(capsys):
    assert main(["recipes", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == recipe_names()


def test_two_recipes_are_compared(write, finished, capsys):
    first, second = write("[sample]\nn_docs = 5\n", "a.toml"), write("[sample]\nmin_chars = 5\n", "b.toml")
    assert acclimate.recipe(first).differences(acclimate.recipe(second)) == [
        ("sample.n_docs", 5, 1000),
        ("sample.min_chars", 80, 5),
    ]
    assert main(["recipes", "diff", first, second]) == 0
    assert [re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines()] == [
        [first, second],
        ["sample.n_docs", "5", "1000"],
        ["sample.min_chars", "80", "5"],
    ]
    assert main(["recipes", "diff", str(finished), str(finished / "recipe.toml")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["recipes", "diff", first, "nothing"]) == 2
    assert "no recipe (or file) named 'nothing'" in capsys.readouterr().err


def test_a_written_recipe_is_read_back_whatever_its_texts(tmp_path):
    odd = 'a "b" \\ \n\t é 🦉 # x'
    settings = {**DEFAULTS, "generate": {**DEFAULTS["generate"], "task": odd, "prompt": (odd, "b"), "top_p": 1e-05}}
    write_recipe(tmp_path, settings, 7)
    assert settings_of(str(tmp_path)) == settings
    assert load_recipe(str(tmp_path)).seed == 7
    assert tomllib.loads(f"x = {as_toml(None)}") == {"x": "none"}
    assert tomllib.loads(f"x = {as_toml((True, 1, 0.5))}") == {"x": [True, 1, 0.5]}


@pytest.mark.slow
def test_a_run_is_made_again_from_its_recipe(corpus, run_adapt, tmp_path, fake_llm):
    changes = ("distill.student=dense-query", "distill.epochs=1")
    assert run_adapt(corpus, tmp_path / "run", changes=changes, seed=3) == 0
    recipe, again = tmp_path / "run" / "recipe.toml", tmp_path / "again"
    assert read_toml(recipe)["run"] == {"seed": 3}
    assert main(["adapt", str(corpus), "--out", str(again), "--recipe", str(recipe)]) == 0
    ours, theirs = contents(tmp_path / "run"), contents(again)
    for files in (ours, theirs):
        for name in ("run.json", "report.json"):  # in which the recipe is named
            files.pop(name)
    assert ours == theirs
    assert main(["adapt", str(corpus), "--out", str(tmp_path / "o"), "--recipe", str(recipe), "--dry-run"]) == 0
    assert not Path(tmp_path / "o").exists()


def test_what_is_laid_over_a_recipe_changes_its_models_and_its_seed(write):
    below = write(
        '[label]\nteachers = ["bm25", "monot5:two"]\n[filter]\nreranker = "x"\n[run]\nseed = 1\n', "below.toml"
    )
    above = write('extends = "below.toml"\n[models]\nteacher = "cross-encoder:y"\n[run]\nseed = 2\n', "above.toml")
    settings = settings_of(above)
    assert settings["label"]["teachers"] == ("bm25", "cross-encoder:y")
    assert settings["filter"]["reranker"] == "cross-encoder:y"
    assert [load_recipe(path).seed for path in (below, above, f"{above},{below}")] == [1, 2, 1]


def test_a_recipe_is_compared_with_a_recipe_and_not_with_a_name():
    with pytest.raises(acclimate.SettingError, match=r"other is 'gpl'; expected a recipe, such as acclimate.recipe"):
        acclimate.recipe("quick").differences("gpl")  # pyright: ignore[reportArgumentType]
