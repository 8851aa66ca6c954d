"""Everything that a profile lacks, by several processes: order, dependencies, failures, stops and going on.

Tasks run in forked processes, which inherit what tests put in place of training and scoring.
"""

import os
import signal
import sys
import threading
import time

import pytest
from worlds.places import make_repository

import gcdp.experiments.train_all as train_all
from gcdp.errors import ConfigError, DataError
from gcdp.experiments.locks import claim
from gcdp.experiments.profile import load_profile
from gcdp.experiments.progress import Progress
from gcdp.experiments.study_record import Trial
from gcdp.experiments.tasks import Task, data_tasks, is_done, needs, plan

PLAN = {"seeds": [5, 7], "sizes": [2, "all"], "models": ["joint", "gaussian"], "full_size": ["lever"]}
MODELS = {
    "joint": {}, "gaussian": {"layout": False}, "lever": {}, "first": {"image": False},
    "second": {"train": {"times": "image_given_layout"}},
    "two_stage": {"kind": "two_stage", "parts": {"layout": "first", "image": "second"}},
}  # fmt: skip


@pytest.fixture
def profiles(repository):
    make_repository(repository, study=PLAN, models=MODELS)
    return {"streets": load_profile("tiny", "streets")}


def names(tasks):
    return [task.name.removeprefix("streets-") for task in tasks]


def test_the_plan_is_in_order_of_importance(profiles):
    tasks = names(plan(profiles))
    assert tasks[:7] == ["referees"] + [
        f"{kind}-{model}-4-s5" for model in ("joint", "gaussian", "lever") for kind in ("train", "validate")
    ]
    assert tasks[7:9] == ["train-first", "train-second"]  # of the pipeline, which trains the others as trials
    assert tasks[9:13] == ["train-joint-4-s7", "validate-joint-4-s7", "test-joint-4-s5", "test-joint-4-s7"]
    assert tasks.index("test-gaussian-2-s7") < tasks.index("train-lever-4-s7") and len(tasks) == len(set(tasks)) == 33


def test_features_come_last_and_wait_for_their_networks_alone(repository):
    make_repository(repository, study=PLAN, models=MODELS, features={"models": ["joint", "gaussian"]})
    profile = load_profile("tiny", "streets")
    tasks = plan({"streets": profile})
    assert names(tasks[-5:]) == [
        "features-joint-4-s5", "features-joint-4-s7", "features-gaussian-4-s5", "features-gaussian-4-s7", "features"
    ]  # fmt: skip
    assert [names(needs(profile, task)) for task in tasks[-3:]] == [
        ["train-gaussian-4-s5"], ["train-gaussian-4-s7"], ["train-joint-4-s5"]
    ]  # fmt: skip
    assert not any(is_done(profile, task) for task in tasks[-5:])
    make_repository(repository, models=MODELS, features={"models": ["joint", "gaussian"]})
    profile = load_profile("tiny", "streets")
    assert names(needs(profile, plan({"streets": profile})[-1])) == ["train-joint"]


def test_without_a_study_the_models_of_the_pipeline_are_trained(repository):
    make_repository(repository, models=MODELS)
    found = names(plan({"streets": load_profile("tiny", "streets")}))
    assert found == ["referees"] + [f"train-{model}" for model in ("joint", "gaussian", "lever", "first", "second")]


def test_scores_wait_for_networks_and_tests_for_all_validations(profiles):
    trial = Trial("joint", 4, 5)
    assert names(sorted(needs(profiles["streets"], Task("streets", "validate", trial=trial)))) == [
        "referees", "train-joint-4-s5"
    ]  # fmt: skip
    tests = needs(profiles["streets"], Task("streets", "test", trial=trial))
    assert names(sorted(tests)) == ["validate-joint-4-s5", "validate-joint-4-s7"]


class Place:
    """Tasks that note themselves in a file, and are done when they have."""

    def __init__(self, root, patch, slow=0.0):
        self.log, self.root, self.slow, self.fails = root / "done.txt", root, slow, ()
        self.stops_after = None  # so many tasks; the next one stops the run and goes on working
        self.log.touch()
        patch.setattr(train_all, "is_done", lambda profile, task: task.name in self.done())
        patch.setattr(train_all, "do", self.do)

    def done(self):
        return self.log.read_text().split()

    def do(self, profile, task):
        time.sleep(self.slow)
        if self.stops_after is not None and len(self.done()) >= self.stops_after:
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(60)
        if task.name in self.fails:
            raise DataError("cannot be read: fetch it again")
        with open(self.log, "a") as file:
            file.write(f"{task.name}\n")

    def run(self, profiles, tasks, workers=3, deadline=None):
        runner = train_all.Runner(profiles, self.root / "study", workers, deadline)
        return runner.run(tasks), runner


@pytest.fixture
def place(repository, monkeypatch):
    return Place(repository, monkeypatch)


def test_all_tasks_are_done_once_and_in_an_order_that_they_need(place, profiles):
    tasks = plan(profiles)
    complete, runner = place.run(profiles, tasks)
    done = place.done()
    assert complete and sorted(done) == sorted(task.name for task in tasks)
    for task in tasks:
        assert all(done.index(other.name) < done.index(task.name) for other in needs(profiles["streets"], task))
    assert not list((place.root / "study/locks").iterdir())
    table = runner.progress.path.read_text()
    assert table.count(" done ") == len(tasks) and f"{len(tasks)} done; " in table
    assert place.run(profiles, tasks)[0] and place.done() == done  # nothing is left to do


def test_a_task_that_fails_stops_those_alone_that_need_it(place, profiles, capsys):
    place.fails = ("streets-train-joint-4-s5",)
    complete, runner = place.run(profiles, plan(profiles))
    missing = {task.name for task in plan(profiles)} - set(place.done())
    assert not complete and missing == {
        "streets-train-joint-4-s5", "streets-validate-joint-4-s5", "streets-test-joint-4-s5", "streets-test-joint-4-s7"
    }  # fmt: skip
    text = "streets-train-joint-4-s5: failed: error: cannot be read: fetch it again"
    assert text in capsys.readouterr().out and "1 failed" in runner.progress.path.read_text()
    place.fails = ()
    assert place.run(profiles, plan(profiles))[0]


def test_a_task_of_another_program_is_left_to_it(place, profiles):
    task = Task("streets", "referees")
    claim(place.root / "study/locks/streets-referees")  # this process is alive

    def end():
        time.sleep(0.5)
        with open(place.log, "a") as file:
            file.write("streets-referees\n")
        (place.root / "study/locks/streets-referees").unlink()

    other = threading.Thread(target=end)
    other.start()
    complete, _ = place.run(profiles, plan(profiles))
    other.join()
    assert complete and place.done().count(task.name) == 1


def test_a_stop_saves_what_runs_and_the_same_command_goes_on(place, profiles):
    place.slow, place.stops_after = 0.3, 2
    complete, runner = place.run(profiles, plan(profiles), workers=2)
    first = place.done()
    assert not complete and 2 <= len(first) < 33 and "stopped" in runner.progress.path.read_text()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    place.slow, place.stops_after = 0.0, None
    assert place.run(profiles, plan(profiles))[0] and place.done()[: len(first)] == first


def test_near_the_deadline_nothing_starts_that_would_not_end(place, profiles):
    tasks = data_tasks(profiles)
    progress = Progress(place.root / "study")
    progress.started(tasks[0])
    progress.since[tasks[0]] -= 100  # such a task took 100 seconds
    progress.finished(tasks[0], "done")
    complete, runner = place.run(profiles, tasks, deadline=time.monotonic() + 1)
    assert not complete and place.done() == [] and runner.progress.state(tasks[0]) == "waiting"
    assert place.run(profiles, tasks, deadline=time.monotonic() + 200)[0]


def test_the_command_line_says_in_one_sentence_what_is_wrong(repository, monkeypatch):
    make_repository(repository, study=PLAN, models=MODELS, released="tiny")
    monkeypatch.setattr(train_all, "ENVIRONMENT", {})
    monkeypatch.setattr(sys, "argv", ["train_all", "--profile", "tiny"])
    with pytest.raises(
        SystemExit, match=r"^error: profile 'tiny' uses released weights: train profile 'tiny-scratch'$"
    ):
        train_all.main()
    make_repository(repository)
    with pytest.raises(ConfigError, match="no domain 'lanes'"):
        train_all.train_all("tiny", ["lanes"])
