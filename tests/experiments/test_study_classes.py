"""Class by class: recall of each, which classes are small, and what a model gains on them. Seeds: `bits`."""

from types import SimpleNamespace

import numpy as np
import pytest
from worlds import bits

from gcdp.data.classes import ClassTable
from gcdp.experiments.study_classes import class_recall, minor_classes, minor_gains
from gcdp.experiments.study_record import Trial

TABLE = ClassTable("five", ("a", "b", "c", "d", "void"), ((0, 0, 0),) * 5, unlabeled=4)


@pytest.fixture(scope="module")
def made():
    return bits.study(joint=0.9, gaussian=0.3)


def test_the_smaller_half_of_the_nameable_classes_is_minor():
    layouts = np.repeat(np.arange(5), (2, 7, 1, 5, 3)).reshape(1, 3, 6)
    assert minor_classes(SimpleNamespace(layouts=layouts, classes=TABLE)) == ["a", "c"]  # void covers more, unnamed


def test_recall_of_a_class_is_the_share_of_its_captions_that_show_it(made):
    found, asked = class_recall(made, "joint", 16), made.setup.named["test/classes"]
    assert list(found) == list("abcde")
    for k, each in enumerate(found.values()):
        shown = [made.tests[Trial("joint", 16, seed)].chosen.bits["seen_1px"] for seed in range(3)]
        assert each["value"] == pytest.approx(np.mean([seen[asked[:, k], k].mean() for seen in shown]))
        assert each["low"] < each["value"] < each["high"] and (each["n"], each["seeds"]) == (asked[:, k].sum(), 3)


def test_gains_on_small_classes_are_held_against_those_on_the_others(made):
    asked = made.setup.named["test/classes"]

    def recall(model, group):
        each = [made.tests[Trial(model, 16, seed)].chosen.bits["seen_1px"] for seed in range(3)]
        return np.mean([(asked & seen)[:, group].sum() / asked[:, group].sum() for seen in each])

    found = minor_gains(made, "joint", "gaussian", 16, ["a", "c"])
    small, large = (recall("joint", group) - recall("gaussian", group) for group in ([0, 2], [1, 3, 4]))
    for key, value in (("recall", small), ("others", large), ("gain", small - large)):
        assert found[key]["value"] == pytest.approx(value) and found[key]["seeds"] == 3
    assert found["classes"] == ["a", "c"] and 0 < found["j"]["low"] < found["j"]["value"] < 1
    itself = minor_gains(made, "joint", "joint", 16, ["a", "c"])
    assert all(itself[key]["value"] == 0 for key in ("recall", "j", "others", "gain"))


def test_without_classes_in_captions_or_common_seeds_there_are_no_gains(made):
    assert minor_gains(bits.study(joint=0.9, gaussian=0.3, attributes=True), "joint", "gaussian", 16, ["a"]) == {}
    assert minor_gains(made, "joint", "latent", 16, ["a"]) == minor_gains(made, "joint", "gaussian", 16, []) == {}
