"""Records of a study: what is written is read again, bit by bit, and a release is small. Seeds are stated."""

import numpy as np
import pytest
from worlds import bits

from gcdp.errors import CheckpointError
from gcdp.experiments.study import Trial
from gcdp.experiments.study_record import RELEASE, SETUP, Record, Setup, Study


def same(a, b):
    return set(a) == set(b) and all(np.array_equal(a[name], b[name]) for name in a)


def same_records(a, b):
    points = a.points.keys() == b.points.keys() and all(
        same(a.points[s].bits, b.points[s].bits)
        and same(a.points[s].values, b.points[s].values)
        and a.points[s].scalars == b.points[s].scalars
        for s in a.points
    )
    facts = (a.network, a.identity, a.guidance, a.facts) == (b.network, b.identity, b.guidance, b.facts)
    return points and facts and same(a.swapped, b.swapped)


@pytest.mark.parametrize("attributes", [False, True])
def test_what_is_written_is_read_again(tmp_path, attributes):
    setup = bits.setup(attributes=attributes)
    record = bits.record(setup, 0.5, seed=1)
    setup.save(tmp_path)
    record.save(tmp_path / "joint-8-s1", "test")
    again = Setup.load(tmp_path)
    assert same(again.named, setup.named) and same(again.swaps, setup.swaps) and again.labels == setup.labels
    assert (again.identity, again.minimum_area, again.facts) == (setup.identity, 3, setup.facts)
    assert same_records(Record.load(tmp_path / "joint-8-s1", "test"), record)
    assert again.labels == ("attributes" if attributes else "classes")


def test_a_growing_study_is_gathered_and_released_as_one_file(tmp_path):
    made = bits.study(joint=0.8, gaussian=0.2)
    made.setup.save(tmp_path)
    for name, kept in (("validation", made.validations), ("test", made.tests)):
        for trial, record in kept.items():
            record.save(tmp_path / trial.key, name)
    other = bits.record(made.setup, 0.1)
    Record(other.network, "before", other.points, 2.0).save(tmp_path / "joint-4-s1", "test")  # of another setup
    (tmp_path / "joint-8-s9").mkdir()  # not scored yet
    gathered = Study.load(tmp_path)
    assert gathered.tests.keys() == made.tests.keys() and Trial("joint", 4, 1) not in gathered.tests
    path = gathered.release(tmp_path / "release")
    released = Study.load(tmp_path / "release")
    assert path.name == RELEASE and [each.name for each in path.parent.iterdir()] == [RELEASE]
    for name in ("validations", "tests"):
        one, two = getattr(released, name), getattr(made, name)
        assert one.keys() == two.keys() and all(same_records(one[trial], two[trial]) for trial in two)


def test_a_full_study_is_released_in_less_than_a_megabyte(tmp_path):
    """Two models on three sizes with five seeds, two on all pairs; 500 captions, 40 attributes, three scales."""
    made = Study(bits.setup(0, 500, attributes=True))
    rng = np.random.default_rng(1)
    made.setup.named["test/attributes"] = rng.random((500, 40)) < 0.1
    for trial in [Trial(f"m{model}", size, seed) for model in range(2) for size in range(3) for seed in range(5)]:
        scales = (1.0, 2.0, 3.0) if trial.pairs == 2 else (3.0,)
        made.tests[trial] = bits.record(made.setup, 0.5, seed=trial.seed, scales=scales, guidance=3.0)
    assert made.release(tmp_path).stat().st_size < 1e6


@pytest.mark.parametrize("damage", [b"damaged", b""])
def test_damaged_records_are_refused(tmp_path, damage):
    with pytest.raises(CheckpointError, match=f"{SETUP} is missing or damaged"):
        Study.load(tmp_path)
    bits.setup().save(tmp_path)
    (tmp_path / SETUP).write_bytes(damage)
    with pytest.raises(CheckpointError, match=f"{SETUP} is missing or damaged"):
        Study.load(tmp_path)


def test_trials_are_named_by_their_keys():
    trial = Trial("joint_paper-settings", 250, 3)
    assert trial.key == "joint_paper-settings-250-s3" and Trial.of(trial.key) == trial
