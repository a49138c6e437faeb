"""Each check of the kit passes a plugin that keeps the contract, and finds the one that breaks it, with its line."""

from __future__ import annotations

import linecache

import pytest

from bindspace.errors import PluginError
from bindspace.testing import all_checks, check_modality
from bindspace.testing.kit import FAILED, NOT_APPLICABLE, PASSED, WIDTH, Result, run_check
from bindspace.testing.training_checks import least_beyond_chance

CHECKS = {check.name: check for check in all_checks()}
# check, what is changed to what, words of the report, the line of the plugin that it names
BROKEN = [
    ("imports_nothing_slow", "import io\n", "import io\n\nimport numpy\n", "imports numpy (line 4: `import numpy`)", "class"),
    ("settings_survive_a_run_and_a_space", "clip: int = 24", "clip: object = b'24'", "", "class"),
    ("sizes_fit_their_settings", '"base": {"width": 16}', '"base": {"width": "wide"}', "sizes.base.width: expected a whole number", "class"),
    ("example_follows_its_generator", "rng.uniform(0, 6)", "np.random.uniform(0, 6)", "two generators of one seed", "def example"),
    ("example_follows_its_generator", "        values = np.sin", "        concept = 3\n        values = np.sin", "`concept` has no effect", "def example"),
    ("example_follows_its_generator", "        time = np", "        rng = np.random.default_rng(0)\n        time = np", "`rng` has no effect", "def example"),
    ("examples_can_be_written", "return file.getvalue(), {", "return values, {", "expected bytes or a path", "def example"),
    ("examples_can_be_written", '{"unit": "m"}', '{"unit": {1, 2}}', "unit", "def example"),
    ("workers_can_be_sent_to", "        return values\n", "        return (lambda: values)\n", "pickle", "def example"),
    ("read_gives_one_answer", "        return values\n", "        return values + np.random.rand()\n", "gives two samples", "def read"),
    ("read_gives_one_answer", "source.read_bytes() if", "source.read_bytes()[:-4] if", "", "raise BadSample(f\"expected an NPY"),
    ("read_refuses_what_it_must", "except (ValueError, EOFError)", "except EOFError", "ValueError", "values = np.load"),
    ("read_refuses_what_it_must", 'b"\\x93NUMPY and no more"', 'self.example(__import__("numpy").random.default_rng(0), 0)[0]', "rejects()[0] was read as if it were whole", "def read"),
    ("prepare_gives_rows_of_tensors", '"lengths": lengths, **owner', '"lengths": lengths[:1], **owner', "as many rows in each tensor", "def prepare"),
    ("prepare_gives_rows_of_tensors", '"lengths": lengths, **owner', '"length": lengths, **owner', "`forward` needs ['lengths']", "def prepare"),
    ("prepare_gives_rows_of_tensors", '"lengths": lengths, **owner', '"lengths": lengths', "expected a row a sample, or `owner`", "def prepare"),
    ("evaluation_repeats_itself", "values, lengths = pad_rows(rows)", "values, lengths = pad_rows(rows)\n        values *= np.random.rand()", "another batch each time", "def prepare"),
    ("training_follows_its_seeds", "np.random.default_rng(s).random()", "np.random.random()", "the same seeds gave two batches", "def prepare"),
    ("training_follows_its_seeds", "np.random.default_rng(s).random()", "3 * np.random.default_rng(sum(seeds)).random()", "is varied otherwise beside others", "def prepare"),
    ("samples_stay_as_they_are", "values, lengths = pad_rows(rows)", "samples[0][:] = 0\n        values, lengths = pad_rows(rows)", "changed the samples", "def prepare"),
    ("unknown_augmentation_is_refused", "        check_augment(augment)\n", "", "was taken", "def prepare"),
    ("show_draws_a_picture", 'Image.new("L", (len(sample), 8))', "sample", "expected a PIL image, got ndarray", "def show"),
    ("features_have_their_shape", "return self.last(self.dropout(features))", "return features[:, :-1]", "expected (8, 8), got (8, 7)", "def forward"),
    ("features_have_their_shape", "return self.last(self.dropout(features))", "return features / 0", "NaN or infinity", "def forward"),
    ("rows_do_not_see_each_other", "self.dropout(features)", "features - features.mean(0)", "alone and in a batch differ", "def forward"),
    ("padding_changes_nothing", "/ lengths[:, None]", "/ values.shape[1]", "a short sample beside a long one differs", "def forward"),
    ("rows_of_an_owner_are_averaged", "**owner}", "**{k: v * 0 + len(samples) - 1 for k, v in owner.items()}}", "", "def prepare"),
    ("evaluation_mode_draws_nothing", "self.dropout(features)", "nn.functional.dropout(features)", "two passes differ", "def forward"),
    ("a_frozen_tower_stands_still", "mask = torch", 'self.frequencies.data.mul_(1.1)\n        mask = torch', "'encoder.frequencies'", "def forward"),
    ("a_frozen_tower_stands_still", "mask = torch", 'self.last.requires_grad_(True)\n        mask = torch', "ask for a gradient", "def forward"),
    ("bf16_agrees_with_float32", "features = self.blocks", "spectrum = (spectrum @ torch.eye(48)) * 1e4 % 1\n        features = self.blocks", "between bf16 and float32", "def forward"),
    ("memory_grows_with_the_rows", "features = self.blocks", "spectrum = spectrum + (spectrum @ spectrum.T).mean() * 0\n        features = self.blocks", "more rows take", "def forward"),
    ("torch_export_takes_it", "mask = torch", "print(float(values.sum()) > 0 or 1)\n        mask = torch", "not exportable", "def forward"),
    ("blocks_and_tokens_fit", "[:, None].expand(-1, 3, -1)", "", "tokens: got (8, 8)", "def forward"),
    ("a_saved_space_is_the_same", "self.dropout(features)", 'features + self.__dict__.setdefault("free", torch.rand(8))', "differ by", "def forward"),
    ("every_parameter_learns", "self.last = nn.Linear(width, width)", "self.last = nn.Linear(width, width)\n        self.idle = nn.Linear(2, 2)", "no gradient reaches encoder.idle.bias, encoder.idle.weight (2 of", "def forward"),
    ("a_short_run_beats_chance", "values, lengths = pad_rows(rows)", "values, lengths = pad_rows(rows)\n        values *= 0", "held-out examples right after 120 steps", "def example"),
]  # fmt: skip


@pytest.mark.parametrize("name", CHECKS)
def test_a_plugin_that_keeps_the_contract_passes(thing, name):
    result = run_check(CHECKS[name], thing())
    assert result.outcome == PASSED, str(result)


@pytest.mark.parametrize(
    ("name", "old", "new", "said", "line"), BROKEN, ids=[f"{b[0]}-{i}" for i, b in enumerate(BROKEN)]
)
def test_one_that_breaks_it_is_found_with_the_line_to_look_at(thing, name, old, new, said, line):
    result = run_check(CHECKS[name], thing(old, new))
    assert result.outcome == FAILED, str(result)
    assert said in result.note
    file, _, number = result.place.rpartition(":")
    assert "bindspace_thing" in file
    linecache.checkcache()
    assert line in linecache.getline(file, int(number))


def test_the_names_of_all_broken_checks_are_checks_and_every_check_was_broken_once():
    assert {name for name, *_ in BROKEN} == set(CHECKS)
    assert max(map(len, CHECKS)) == WIDTH
