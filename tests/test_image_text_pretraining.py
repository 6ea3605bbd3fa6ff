"""Chapter image_text_pretraining: losses against loops, what learns, mutations."""

import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from chapter_edits import changed_by
from torch.nn import functional as F

from medbook import chapter
from medbook.data import Split
from medbook.learn.text import PAD, TextTower, Words, one_of
from medbook.phantom.thorax import phrases

c = chapter.load("image_text_pretraining")
SAYINGS = ["upper left corner", "upper right corner", "lower left corner", "lower right corner"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def toy(n=256, seed=0):
    """Images with one bright quadrant, and a sentence that names it."""
    which = torch.randint(4, (n,), generator=seeded(seed))
    images = torch.randint(60, (n, 1, 16, 16), generator=seeded(seed + 1))
    for i, k in enumerate(which.tolist()):
        images[i, 0, 8 * (k // 2) : 8 * (k // 2) + 8, 8 * (k % 2) : 8 * (k % 2) + 8] += 150
    return images.byte(), which


def trained(recipe, steps=60, seed=3):
    """How often the right one of four sentences is closest to new images, and the pair."""
    images, which = toy()
    words = Words(SAYINGS)
    ways = words.ways([[SAYINGS[k]] for k in which])
    sizes = c.Sizes(steps=steps, batch=32)
    found = c.pretrain(c.Pretraining(images, ways, len(words), None, recipe, seed, sizes))
    pair = c.new_pair(len(words), None, seed + 1).eval()
    pair.load_state_dict(found.weights)
    return answered(pair, words), pair, found.log


def answered(pair, words):
    images, which = toy(128, seed=9)
    v = c.predict(torch.nn.Sequential(pair.image, pair.g_v), images)
    u = c.embedded(pair, words(SAYINGS))
    return ((F.normalize(v, dim=1) @ u.T).argmax(1) == which).float().mean().item()


PLAIN = {"views": 0.0, "flips": False, "apart": True, "lr": 3e-3}
RIVALS = {
    "matching": partial(c.Recipe, c.matching, c.matcher),
    "captions": partial(c.Recipe, c.captioning, c.writer),
    "SimCLR": partial(c.Recipe, c.contrast_of_views, paired=True),
}


def by_loops(v, u, tau, lam):
    """Eq. 1, one term after the other."""
    v, u = v.double().numpy(), u.double().numpy()
    cosine = lambda a, b: a @ b / np.linalg.norm(a) / np.linalg.norm(b)  # noqa: E731
    total = 0.0
    for i in range(len(v)):
        rows = sum(math.exp(cosine(v[i], u[k]) / tau) for k in range(len(u)))
        columns = sum(math.exp(cosine(v[k], u[i]) / tau) for k in range(len(v)))
        right = math.exp(cosine(v[i], u[i]) / tau)
        total += -lam * math.log(right / rows) - (1 - lam) * math.log(right / columns)
    return total / len(v)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("n", "tau", "lam"), [(2, 0.1, 0.75), (5, 0.1, 0.75), (7, 1.0, 0.0), (4, 0.3, 1.0)]
)
def test_the_loss_is_equation_1(n, tau, lam, dtype):
    v, u = torch.randn(2, n, 3, generator=seeded(n)).to(dtype)
    assert c.info_nce(v, u, tau, lam).item() == pytest.approx(by_loops(v, u, tau, lam), rel=1e-5)


def test_one_direction_is_not_the_loss():
    """The mutation: images to sentences alone, or lambda on the other direction."""
    v, u = torch.randn(2, 6, 3, generator=seeded(), dtype=torch.float64)
    u[0] = 3 * v.mean(0)  # a sentence that draws images, as a normal one does
    whole = c.info_nce(v, u).item()
    for lam in (0.0, 0.25, 1.0):
        assert abs(by_loops(v, u, 0.1, lam) - whole) > 1e-3
    assert whole == pytest.approx(by_loops(v, u, 0.1, 0.75), rel=1e-9)


@pytest.mark.parametrize("n", [2, 9])
def test_constant_vectors_give_the_logarithm_of_their_number(n):
    assert c.info_nce(torch.ones(n, 4), torch.ones(n, 4)).item() == pytest.approx(math.log(n))


def test_equal_sentences_are_left_out_and_the_right_one_is_not():
    sentences = torch.tensor([[5, 6], [5, 6], [7, 0], [7, 8]])
    equal = c.same(sentences)
    assert equal.tolist() == [[i == j or {i, j} == {0, 1} for j in range(4)] for i in range(4)]
    u = F.one_hot(torch.tensor([0, 0, 2, 3]), 4).float()  # the images of the first two agree
    assert c.info_nce(u, u, 0.01, equal=equal) < 1e-6 < c.info_nce(u, u, 0.01)


def test_simclr_pairs_the_two_views():
    z = torch.randn(6, 5, generator=seeded(), dtype=torch.float64)
    unit = F.normalize(z, dim=1)
    total = 0.0
    for i in range(6):
        terms = [math.exp(unit[i] @ unit[k] / 0.1) for k in range(6) if k != i]
        total -= math.log(math.exp(unit[i] @ unit[(i + 3) % 6] / 0.1) / sum(terms))
    assert c.simclr(z).item() == pytest.approx(total / 6)


@pytest.mark.slow
def test_pairs_are_learnt_and_shuffled_ones_are_not():
    right, _, _ = trained(c.Recipe(c.contrast, **PLAIN))
    wrong, _, _ = trained(c.Recipe(c.contrast, **PLAIN, shuffled=True))
    assert right > 0.95 and wrong < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("rival", RIVALS)
def test_the_rivals_learn_too(rival):
    _, _, log = trained(RIVALS[rival](**PLAIN), steps=20)
    first, last = np.mean(log.losses[:5]), np.mean(log.losses[-5:])
    assert last < 0.9 * first


@pytest.mark.parametrize(
    ("text", "fixed"),
    [("upper", ["words", "places", "layers.0"]), ("all", []), ("none", ["", "g_u"])],
)
def test_what_is_fixed_stays_and_all_else_learns(text, fixed):
    _, pair, log = trained(c.Recipe(c.contrast, text=text, **PLAIN), steps=2)
    start = c.new_pair(len(Words(SAYINGS)), None, 3).state_dict()
    held = tuple(f"text.{part}" if part != "g_u" else part for part in fixed)
    for name, now in pair.named_parameters():
        same = torch.equal(now.detach(), start[name])
        never = name.endswith("k_proj.bias") or "in_proj_bias" in name  # keys' offset cancels
        assert same == name.startswith(held) if held and not never else True, name
        if not held and not never:
            assert not same, name
    count = sum(p.numel() for n, p in pair.named_parameters() if not (held and n.startswith(held)))
    assert log.parameters == count


def test_by_default_the_text_side_learns():
    """The mutation: a text tower inside a block without gradients."""
    _, pair, _ = trained(c.Recipe(c.contrast), steps=2)
    start = c.new_pair(len(Words(SAYINGS)), None, 3).state_dict()
    for name in ("text.layers.1.linear1.weight", "g_u.0.weight", "g_v.0.weight"):
        assert not torch.equal(pair.state_dict()[name], start[name]), name


def test_arms_share_their_initial_weights():
    one, other = (c.new_pair(9, None, 5).state_dict() for _ in range(2))
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert not torch.equal(one["g_v.0.weight"], c.new_pair(9, None, 6).state_dict()["g_v.0.weight"])


def test_queries_and_denials_are_not_sentences_of_the_reports():
    def plain(text):
        return " ".join(re.findall(r"[a-z]+", text.lower()))

    said = {
        plain(p.format(size=size, Size=size, side=side, Side=side, zone=zone, a="a", A="A", mm=""))
        for table in (phrases.PRESENT, phrases.HEDGED)
        for ways in table.values()
        for p in ways
        for size in ("", "small", "large")
        for side in ("", "left")
        for zone in ("", "lower")
    } | {plain(p) for ways in phrases.ABSENT.values() for p in ways}
    said |= {plain(p) for p in phrases.CLEAR}
    queries = [q for ways in c.QUERIES.values() for q in ways] + list(c.DENIED.values())
    assert len(queries) == 41 == len(set(queries))
    assert not {plain(q) for q in queries} & said
    known = {w for text in said for w in text.split()}
    unknown = {w for q in queries for w in plain(q).split()} - known
    assert len(unknown) <= 12, unknown  # most words must have been read


def test_unseen_captions_are_not_trained_ones_and_classes_fit_the_sets():
    from medbook.data import info

    for name, known in c.KNOWN.items():
        assert len(known) == len(info(name).classes)
        trained = [s for k in known for s in c.captions(k)]
        unseen = [s for k in known for s in c.captions(k, c.UNSEEN)]
        assert len(set(trained)) > 6 * len(known) and not set(trained) & set(unseen)
        assert all(k[0] in c.MODALITIES for k in known)


def test_patients_show_what_their_labels_say():
    cpu = torch.device("cpu")
    images, labels, sides, said = one = c.examined(c.Patients(1, 4, cpu, "effusion"))
    assert images.shape == (4, 1, 64, 64) and images.dtype == torch.uint8
    assert labels.tolist() == [[0, 0, 0, 1, 0, 0]] * 4 and len(said) == 4
    assert (sides == 0).all()  # effusions on both sides
    again = c.examined(c.Patients(1, 4, cpu, "effusion"))
    assert torch.equal(one.images, again.images) and one.reports == again.reports
    _, labels, sides, said = c.examined(c.Patients(2, 4, cpu, "pneumothorax"))
    assert (labels.sum(1) == 1).all() and set(sides.tolist()) <= {-1, 1}
    for side, report in zip(sides.tolist(), said, strict=True):
        text = " ".join(s for s in report if "neumothorax" in s)
        assert {-1: "right", 1: "left"}[side] in text.lower()
    assert c.examined(c.Patients(3, 2, cpu, "no finding")).labels.sum() == 0


class Literal(torch.nn.Module):
    """Puts a sentence at fixed places: one axis for each word that counts, -1 for a denial."""

    def __init__(self, words, axes):
        super().__init__()
        self.words, self.axes, self.place = words, axes, torch.nn.Parameter(torch.zeros(1))

    def u(self, sentences):
        found = torch.zeros(len(sentences), len(self.axes))
        for k, word in enumerate(self.axes):
            found[:, k] = (sentences == self.words.number[word]).any(1).float()
        return found + 1e-3


def test_left_is_left():
    words = Words(["right left mass consolidation pneumothorax there is a"])
    pair = Literal(words, ["right", "left"])
    v = torch.tensor([[1.0, 0], [0, 1], [0, 1], [1, 0]])
    kinds = torch.tensor([c.GROUPS.index(k) for k in ("mass", "mass", "pneumothorax", "nodule")])
    assert c.side_named(pair, words, v, torch.tensor([-1, 1, 1, 1]), kinds) == 1.0
    assert c.side_named(pair, words, v, torch.tensor([1, -1, -1, 1]), kinds) == 0.0
    assert c.side_named(pair, words, v, torch.tensor([0, 0, 0, 1]), kinds) == 0.5  # nobody asked


def test_prompts_affirm():
    words = Words([q for ways in c.QUERIES.values() for q in ways] + list(c.DENIED.values()))
    axes = ["nodule", "heart", "no", "not"]
    pair = Literal(words, axes)
    score = c.prompted(pair, words, torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0]]))
    assert score.shape == (2, 6) and score[0, 0] > 0 > score[1, 0]


def test_answers_are_weighted_to_the_balanced_accuracy():
    labels = torch.tensor([0, 0, 0, 2])
    assert c.balanced(torch.tensor([1, 1, 0, 0]).bool(), labels).mean().item() == pytest.approx(
        1 / 3
    )
    assert c.balanced(torch.tensor([0, 0, 0, 1]).bool(), labels).mean().item() == pytest.approx(0.5)


def test_class_vectors_are_means_of_unit_vectors():
    words = Words(SAYINGS)
    pair = c.new_pair(len(words), None, 0).eval()
    found = c.class_vectors(pair, words, [SAYINGS[:2], SAYINGS[2:]])
    single = torch.stack([F.normalize(pair.u(words([s])), dim=1)[0] for s in SAYINGS]).detach()
    wanted = F.normalize(single.view(2, 2, -1).mean(1), dim=1)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_the_symmetric_loss_and_its_soft_targets():
    words = Words(SAYINGS)
    ways = words.ways([[s] for s in SAYINGS])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = c.Clip(TextTower(len(words), c.WIDTH)).eval()
    h = torch.randn(4, c.WIDTH, generator=seeded())
    v, u = clip.g_v(h), clip.u(one_of(ways))
    wanted = c.info_nce(v, u, tau=0.07, lam=0.5)
    assert clip.loss(h, ways).item() == pytest.approx(wanted.item(), rel=1e-4)
    apart = clip.loss(h, ways, torch.arange(4))
    assert apart.item() == pytest.approx(wanted.item(), rel=1e-4)
    cosine = F.normalize(v, dim=1) @ F.normalize(u, dim=1).T / 0.07
    kinds = torch.tensor([0, 0, 1, 2])
    target = torch.tensor([[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    soft = -sum((target * m.log_softmax(1)).sum(1).mean() for m in (cosine, cosine.T)) / 2
    assert clip.loss(h, ways, kinds).item() == pytest.approx(soft.item(), rel=1e-4)


def test_corpora_of_unequal_captions_join():
    one = c.Corpus(
        torch.zeros(2, 3, 32, 32).byte(), torch.ones(2, 1, 4).short(), torch.zeros(2).long()
    )
    two = c.Corpus(
        torch.ones(1, 3, 32, 32).byte(), torch.ones(1, 3, 4).short(), torch.ones(1).long()
    )
    both = c.Corpus.of([one, two])
    assert both.ways.shape == (3, 3, 4) and (both.ways[:2, 1:] == PAD).all()
    assert {tuple(row.tolist()) for row in one_of(both.ways)} == {(1, 1, 1, 1)}
    assert both.kinds.tolist() == [0, 0, 1]


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (1, 3, 28, 28), (2, 1, 64, 64), (1, 1, 32, 32)])
def test_all_images_become_coloured_ones_of_32_pixels(shape):
    x = torch.randint(256, shape, generator=seeded()).byte()
    y = c.colour(x)
    assert y.shape == (shape[0], 3, 32, 32) and y.dtype == torch.uint8
    if shape[-1] == 64:
        assert y[0, 0, 0, 0] == x[0, 0, :2, :2].float().mean().round()
    else:
        rim = (32 - shape[-1]) // 2
        assert torch.equal(y[:, :, rim : 32 - rim, rim : 32 - rim], x.expand(-1, 3, -1, -1))


def test_a_share_of_labels_is_drawn_the_same_way_for_all_arms():
    assert torch.equal(c.some_rows(500, 0.1, 3), c.some_rows(500, 0.1, 3))
    assert len(c.some_rows(500, 0.1, 3)) == 50 and len(c.some_rows(500, 0.001, 3)) == 8
    assert len(c.some_rows(500, 1.0, 0).unique()) == 500


@pytest.mark.slow
def test_a_probe_reads_a_feature_that_is_there_and_no_other():
    images, which = toy(160)
    split = Split(images, torch.stack([which // 2, which % 2], 1))
    encoder = c.image_encoder().eval()
    seen = c.Features(c.predict(encoder, images), split.labels)
    assert c.probes(seen, seen, seen, 0, {"100 %": 1})["100 %"][1] > 0.95
    noise = seen._replace(y=torch.randint(2, (160, 2), generator=seeded(4)))
    others = c.predict(encoder, toy(160, 20)[0])
    val = c.Features(others, torch.randint(2, (160, 2), generator=seeded(5)))
    assert abs(c.probes(noise, val, val, 0, {"10 %": 5})["10 %"][1] - 0.5) < 0.2


REPORTS = [["A mass.", "No effusion."], ["No mass.", "Clear lungs."]]


def jobs(book):
    """Each arm by name, as another chapter would build them, too."""
    texts = book.texts_of(REPORTS, torch.device("cpu"))
    sizes = book.Sizes(steps=2, batch=2, reading=2)
    recipes = {
        "ConVIRT": book.Recipe(book.contrast, joint=True),
        "SimCLR": book.Recipe(book.contrast_of_views, paired=True),
        "matching": book.Recipe(book.matching, book.matcher),
        "captions": book.Recipe(book.captioning, book.writer),
    }
    reader = book.Reader({"a": torch.zeros(1)}, None)
    images = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    found = {
        name: book.pretraining(images, texts, reader, recipe, 0, sizes)
        for name, recipe in recipes.items()
    }
    return found | {"reading": book.reading(texts, 0, sizes)}


def test_an_edit_of_one_arm_changes_the_jobs_of_no_other():
    def changed(old, new):
        return changed_by("image_text_pretraining", jobs, old, new)

    assert changed("fill_diagonal_(-torch.inf)\n    return", "clone()\n    return") == {"SimCLR"}
    assert changed("u.roll(1, 0)", "u.roll(2, 0)") == {"matching"}
    assert changed("ignore_index=PAD)", "ignore_index=START)") == {"captions"}
    assert changed("cosine.masked_fill(other", "cosine.masked_fill(equal") == {"ConVIRT"}


def test_jobs_hold_the_sentences_of_the_reports_and_whole_reports_where_asked():
    texts = c.texts_of(REPORTS, torch.device("cpu"))
    assert texts.ways.shape[:2] == (2, 2) and texts.whole.shape[:2] == (2, 1)
    assert len(texts.sentences) == 4
    images = torch.zeros(2, 1, 64, 64, dtype=torch.uint8)
    reader, sizes = c.Reader({}, None), c.Sizes(2, 2)
    for whole, ways in ((False, texts.ways), (True, texts.whole)):
        recipe = c.Recipe(c.contrast, whole=whole)
        assert c.pretraining(images, texts, reader, recipe, 0, sizes).ways is ways


def test_a_pretrained_pair_gives_its_image_encoder():
    pair = c.new_pair(9, None, 0)
    c.image_encoder().load_state_dict(c.Pretrained(c.on_cpu(pair), None).encoder)
