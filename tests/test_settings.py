"""Configuration: described once, checked strictly."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from trajmake import settings
from trajmake.errors import ConfigError
from trajmake.settings import render

ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())


def changed(**changes):
    return copy.deepcopy(CONFIG) | changes


def test_the_shipped_configuration_is_right_and_carries_the_four_models():
    options = settings.load(CONFIG, {})
    names = {key: options.catalog[key].display_name for key in ("opus", "gpt", "kimi", "qwen")}
    assert names == {
        "opus": "Claude Opus 4.6",
        "gpt": "GPT-5.2",
        "kimi": "Kimi K2.5",
        "qwen": "Qwen 3 Coder Plus",
    }
    for key in names:
        entry = options.catalog[key]
        assert "/" in entry.model and entry.api_key_env.endswith("_API_KEY") and entry.max_output_tokens


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sesion": "x"}, "sesion: unknown key; did you mean `session`?"),
        ({"limits": {"instance_second": 5}}, "limits.instance_second: unknown key; did you mean `instance_seconds`?"),
        (
            {"catalog": CONFIG["catalog"] | {"a": {"modle": "x/y"}}},
            "catalog.a.modle: unknown key; did you mean `model`?",
        ),
        ({"models": ["opsu"]}, "There is no model `opsu` in the catalog.\nHint: Did you mean `opus`?"),
        ({"models": []}, "models: "),
        ({"models": ["gold", "gold"]}, "twice"),
        ({"mode": "fast"}, "mode: "),
        ({"session": "../up"}, "session: "),
        ({"limits": {"instance_seconds": 0}}, "limits.instance_seconds: "),
        ({"catalog": CONFIG["catalog"] | {"a/b": {"agent": "gold"}}}, "cannot be a folder name"),
        ({"catalog": CONFIG["catalog"] | {"a": {"agent": "mini_swe_agent"}}}, "catalog.a: needs `model`"),
        ({"catalog": {"a": {"model": "x/y", "options": {"api_key": "sk"}}}, "models": ["a"]}, "api_key_env"),
        ({"catalog": {"a": {"model": "x/y", "options": {"extra_headers": {"Authorization": "x"}}}}}, "Authorization"),
        ({"catalog": {"a": {"model": "x/y", "base_url": "http://me:secret@host/v1"}}}, "name or password"),
        ({"catalog": CONFIG["catalog"] | {"a": {"agent": "openhandz"}}}, "there is no agent `openhandz`"),
        ({"engine": "podmann"}, "podmann"),
        ({"output_dir": "a{b}"}, "output_dir: "),
    ],
)
def test_every_mistake_is_named_with_its_place(changes, said):
    with pytest.raises(ConfigError) as caught:
        settings.load(changed(**changes), {})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        {"api_key_env": "sk-proj-0123456789"},
        {"base_url": "https://me:sk-proj-0123456789@host/v1"},
        {"base_url": "sk-proj-0123456789"},
        {"options": {"api_key": "sk-proj-0123456789"}},
    ],
)
def test_a_key_in_the_wrong_place_is_refused_and_not_shown(entry):
    """It stood in the error, so in Snakemake's log; in ``api_key_env`` it was taken for a variable's name."""
    with pytest.raises(ConfigError) as refused:
        settings.load(changed(catalog=CONFIG["catalog"] | {"a": {"model": "openai/x"} | entry}), {})
    assert f"catalog.a.{next(iter(entry))}: " in str(refused.value) and "sk-proj" not in str(refused.value)


def test_all_mistakes_are_said_at_once():
    with pytest.raises(ConfigError) as caught:
        settings.load(changed(sesion="x", mode="fast"), {})
    assert "sesion" in str(caught.value) and "mode" in str(caught.value)


def test_environment_variables_of_the_users_documents():
    environ = {"MAX_PARALLEL_INSTANCES": "3", "INSTANCE_TIMEOUT": "60", "DEBUG": "1"}
    options = settings.load(CONFIG, environ)
    assert (options.max_parallel_instances, options.limits.instance_seconds, options.debug) == (3, 60, True)
    assert settings.load(CONFIG, {"DEBUG": "0"}).debug is False
    with pytest.raises(ConfigError, match="INSTANCE_TIMEOUT is 'soon'"):
        settings.load(CONFIG, {"INSTANCE_TIMEOUT": "soon"})


def test_a_models_digest_changes_with_what_answers_and_with_nothing_else(tmp_path):
    entry = settings.load(CONFIG, {}).catalog["opus"]
    digest = settings.model_digest(entry)
    assert settings.model_digest(entry.model_copy(update={"display_name": "Other", "api_key_env": "OTHER"})) == digest
    assert settings.model_digest(entry.model_copy(update={"temperature": 0.5})) != digest
    # A setting with its default says nothing: one that a later version adds must not buy anything again.
    assert settings.model_digest(entry.model_copy(update={"steps": 250, "options": {}})) == digest
    prompt = tmp_path / "prompt.yaml"
    prompt.write_text("one")
    with_prompt = entry.model_copy(update={"prompt_file": str(prompt)})
    first = settings.model_digest(with_prompt)
    prompt.write_text("two")
    assert settings.model_digest(with_prompt) != first


@pytest.mark.parametrize(("name", "text"), [(render.SCHEMA, render.schema), (render.TABLE, render.table)])
def test_what_is_derived_from_the_description_is_up_to_date(name, text):
    assert (ROOT / name).read_text() == text(), f"{name} is out of step; mend it with: {render.COMMAND}"


def test_the_schema_accepts_the_shipped_configuration_and_refuses_a_typo():
    jsonschema = pytest.importorskip("jsonschema")
    import json

    schema = json.loads(render.schema())
    jsonschema.validate(CONFIG, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed(sesion="x"), schema)


def test_a_session_may_be_called_by_a_number():
    assert settings.load(changed(session=2024), {}).session == "2024"


def test_a_missing_or_broken_file_is_said(tmp_path):
    with pytest.raises(ConfigError, match="no configuration file"):
        settings.from_file(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(ConfigError, match="is not YAML"):
        settings.from_file(broken)
    with pytest.raises(ConfigError, match="cannot be read"):
        settings.from_file(tmp_path)
