"""The text plugin: what it reads, how words become numbers, and where its encoder begins."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from bindspace import BadSample
from bindspace.contract.errors import UserError
from bindspace_text import TextConfig, bucket_pair, words


def encode(config, texts, encoder=None):
    torch.manual_seed(0)
    encoder = encoder or config.encoder(pretrained=False)
    with torch.no_grad():
        return encoder.eval()(**config.prepare(texts))


def step(encoder, loss, rate=0.01):
    """One step along the gradient's signs; the gradients stay for the test to look at."""
    encoder.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter -= rate * parameter.grad.sign()


def test_importing_the_plugin_imports_no_torch_and_no_numpy():
    code = "import sys, bindspace_text; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_a_text_is_read_from_a_string_bytes_or_a_txt_file(tmp_path):
    path = tmp_path / "caption.txt"
    path.write_bytes("\ufeffeine Tür knarrt\n".encode())
    config = TextConfig()
    assert config.read("  eine Tür knarrt ", {}) == config.read(path, {}) == config.read("eine Tür knarrt".encode(), {})


def test_two_spellings_of_one_character_are_one_text():
    assert TextConfig().read("u\u0308ber", {}) == "über"


@pytest.mark.parametrize("text", ["", "   ", "\n\t", b""])
def test_a_text_without_words_is_refused(text):
    with pytest.raises(BadSample, match="expected at least one word, got an empty text: leave the cell out"):
        TextConfig().read(text, {})


def test_bytes_that_are_not_utf8_are_refused_with_their_place():
    with pytest.raises(BadSample, match=r"expected UTF-8, got byte 0xfc at 1: save it as UTF-8"):
        TextConfig().read("Tür".encode("latin-1"), {})


def test_a_file_of_another_kind_and_a_number_are_refused(tmp_path):
    with pytest.raises(BadSample, match=r"expected a \.txt file, got 'caption.pdf'"):
        TextConfig().read(tmp_path / "caption.pdf", {})
    with pytest.raises(BadSample, match=r"expected a text with at least one word.*got float"):
        TextConfig().read(float("nan"), {})


def test_words_keep_inner_marks_and_split_off_others():
    assert words("Don't re-open, it's 5!") == ["don't", "re-open", ",", "it's", "5", "!"]
    assert words("猫が鳴く。") == ["猫", "が", "鳴", "く", "。"]


def test_every_text_that_is_read_has_a_word():
    for text in ("...", "\u200b", "🔔", "_", "\x00"):
        assert TextConfig().prepare([TextConfig().read(text, {})])["mask"].any()


def test_hashes_are_the_same_in_every_process():
    assert [bucket_pair(word) for word in ("ball", "über")] == [(1322263696, 3517104836), (1205478806, 2298407955)]
    code = "from bindspace_text import bucket_pair; print(bucket_pair('ball'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONHASHSEED": "7"})
    assert other.stdout == "(1322263696, 3517104836)\n"


def test_few_words_of_many_share_both_buckets():
    pairs = {tuple(number % 4096 for number in bucket_pair(f"word{i}")) for i in range(20000)}
    assert len(pairs) > 19950


def test_upper_case_changes_nothing_and_another_word_does():
    config = TextConfig()
    a, b, c = encode(config, ["A Dog Barks", "a dog barks", "a dog sleeps"])
    assert torch.equal(a, b)
    assert not torch.allclose(a, c)


@pytest.mark.parametrize("layers", [0, 3])
def test_the_encoder_begins_as_a_bag_of_words(layers):
    config = TextConfig(layers=layers)
    a, b = encode(config, ["the ball hits the wall hard", "hard wall the hits ball the"])
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_a_transformer_learns_the_order_of_words():
    config = TextConfig(layers=1, channels=32, width=16)
    torch.manual_seed(0)
    encoder = config.encoder(pretrained=False)
    batch = config.prepare(["dog bites man", "man bites dog"])
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(encoder(**batch), torch.tensor([0, 1]))
        step(encoder, loss)
    assert loss < 0.1


@pytest.mark.parametrize("layers", [0, 2])
def test_padding_by_longer_neighbours_changes_nothing(layers):
    config = TextConfig(layers=layers)
    texts = ["clink", "a steel ball bounces on tile, twice", "one two three"]
    encoder = config.encoder(pretrained=False)
    for block in encoder.blocks:  # leave the identity, so that attention has a say
        torch.nn.init.normal_(block.out.weight, std=0.1)
    together = encode(config, texts, encoder)
    alone = torch.cat([encode(config, [text], encoder) for text in texts])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_words_beyond_the_length_are_left_out():
    config = TextConfig(length=3)
    assert torch.equal(config.prepare(["a b c d e"])["ids"], config.prepare(["a b c"])["ids"])


def test_evaluation_is_deterministic_and_training_varies_by_the_seed_only():
    config, text = TextConfig(), " ".join(f"w{i}" for i in range(60))
    drawn = [config.prepare([text], seeds=[seed], augment="strong")["ids"] for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(config.prepare([text])["ids"], config.prepare([text], seeds=[5], augment="none")["ids"])


def test_training_drops_words_but_never_all():
    config = TextConfig()
    lengths = [config.prepare([" ".join("abcdefghij")], seeds=[s])["mask"].sum().item() for s in range(400)]
    assert 9.3 < np.mean(lengths) < 9.7
    assert all(config.prepare(["word"], seeds=[s], augment="strong")["mask"].all() for s in range(50))


def test_an_unknown_augmentation_is_answered_with_the_list():
    with pytest.raises(UserError, match="unknown augment 'week': did you mean 'weak'"):
        TextConfig().prepare(["a"], seeds=[0], augment="week")


@pytest.mark.parametrize("layers", [0, 2])
def test_gradients_reach_every_parameter(layers):
    config = TextConfig(layers=layers, channels=32, width=32)
    encoder = config.encoder(pretrained=False)
    batch = config.prepare(["a dog barks", "rain falls on the roof tonight"])
    for _ in range(3):  # branches that begin at zero open with the first step
        step(encoder, (encoder(**batch) * torch.arange(32)).mean())
    without = [name for name, parameter in encoder.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert without == []


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UserError, match="width 192 for 5 heads"):
        TextConfig(layers=1, heads=5).encoder(pretrained=False)


def test_weights_of_a_file_are_loaded_only_where_asked(tmp_path):
    donor = TextConfig(layers=1).encoder(pretrained=False)
    torch.save(donor.state_dict(), tmp_path / "text.pt")
    config = TextConfig(layers=1, weights=str(tmp_path / "text.pt"))
    same = config.encoder(pretrained=True).embedding.weight
    assert torch.equal(same, donor.embedding.weight)
    assert not torch.equal(config.encoder(pretrained=False).embedding.weight, same)


@pytest.mark.parametrize("size", ["small", "base"])
def test_every_size_builds_and_names_its_blocks(size):
    config = TextConfig(**TextConfig.sizes[size] | {"buckets": 8})
    assert len(config.encoder(pretrained=False).blocks) == config.layers


def test_examples_are_read_and_tell_ten_concepts_apart():
    config, rng = TextConfig(), np.random.default_rng(0)
    texts = [config.read(*config.example(rng, concept)) for concept in range(10)]
    assert len(set(texts)) == 10
    assert config.show(texts[0]).size == (320, 160)
