"""The scheduler: no job lost, none answered twice, none starved, limits kept, no work waiting for a free worker."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from striate_service.errors import DeadlineExceeded, Overloaded, QueueFull, QuotaExceeded
from striate_service.scheduling.job import Batch, Job, Lane
from striate_service.scheduling.scheduler import Scheduler, TooMuchWork


def scheduler(**limits: float) -> Scheduler:
    return Scheduler(**{"max_queue": 100, **limits})  # type: ignore[arg-type]


def put(scheduler: Scheduler, jobs: Iterable[Job], now: float = 0.0) -> None:
    for job in jobs:
        scheduler.admit(job, now)
        scheduler.enqueue(job, now)


def take(scheduler: Scheduler, limit: int = 8, now: float = 0.0) -> list[Job]:
    batch, _ = scheduler.next_batch(now, lambda key: limit)
    return list(batch.jobs) if batch else []


def test_a_single_job_leaves_at_once() -> None:
    s, job = scheduler(), Job("a", 1)
    put(s, [job])
    assert take(s) == [job]
    assert take(s) == []


def test_a_job_whose_inputs_are_not_ready_has_a_place_but_does_not_leave() -> None:
    s, job = scheduler(max_queue=1), Job("a", 1)
    s.admit(job, 0)
    assert take(s) == []
    with pytest.raises(QueueFull):
        s.admit(Job("a", 1), 0)
    s.enqueue(job, 0)
    assert take(s) == [job]


def test_jobs_that_gathered_leave_together_up_to_the_limit() -> None:
    s, jobs = scheduler(), [Job("a", 1) for _ in range(5)]
    put(s, jobs)
    assert [take(s, 3), take(s, 3)] == [jobs[:3], jobs[3:]]


def test_the_jobs_of_a_batch_share_the_memory_of_a_worker() -> None:
    s = scheduler(max_job_bytes=100)
    large, small, other = Job("a", 1, memory_bytes=80), Job("a", 1, memory_bytes=20), Job("a", 1, memory_bytes=20)
    put(s, [large, small, other])
    assert [take(s), take(s)] == [[large, small], [other]]


def test_a_job_that_is_too_large_for_any_worker_is_refused() -> None:
    s = scheduler(max_job_bytes=2**20, max_job_seconds=60)
    with pytest.raises(TooMuchWork, match="about 3 MiB of memory, and at most 1 MiB"):
        s.admit(Job("a", 1, memory_bytes=3 * 2**20), 0)
    with pytest.raises(TooMuchWork, match="about 90 s, and at most 60 s"):
        s.admit(Job("a", 1, other_seconds=90), 0)
    with pytest.raises(TooMuchWork, match="about 80 s"):
        s.admit(Job("a", 1, work=100, forward_seconds=0.8), 0)
    put(s, [Job("a", 1, work=100, forward_seconds=0.5)])


def test_a_slow_moment_does_not_make_jobs_too_large_for_ever() -> None:
    """What a first batch took may be compilation, and refused jobs would never be measured again."""
    s, job = scheduler(max_job_seconds=60), Job("a", 1, kind="k", family="f")
    for seconds in (1.0, 300.0):
        put(s, [job])
        batch, _ = s.next_batch(0, lambda key: 8)
        assert batch
        s.ended(batch, seconds)
    put(s, [Job("a", 50, kind="k", family="f")])
    with pytest.raises(TooMuchWork):
        s.admit(Job("a", 61, kind="k", family="f"), 0)


def test_a_first_compilation_does_not_make_a_kind_miss_every_deadline() -> None:
    """A refused job would never be measured again, so the refusals would last."""
    s = scheduler()

    def factorization(components: int, **more: float) -> Job:
        return Job("a", 1, kind="k", family="f", work=1, other_seconds=0.1 * components, **more)

    put(s, [factorization(1)])
    batch, _ = s.next_batch(0, lambda key: 8)
    assert batch
    s.ended(batch, 90.0)
    put(s, [factorization(20, deadline=120)])


def test_a_kind_that_was_never_measured_is_estimated_from_its_family() -> None:
    s = scheduler()
    put(s, [Job("a", 2, kind="known", family="f")])
    batch, _ = s.next_batch(0, lambda key: 8)
    assert batch
    s.ended(batch, 4.0)
    put(s, [Job("a", 3, kind="new", family="f")])
    assert s.expected_wait(Job("a", 1, kind="new", family="f")) == pytest.approx(6.0)


def test_jobs_of_different_models_never_share_a_batch_and_keep_their_order() -> None:
    s = scheduler()
    a, b = [Job("a", 1) for _ in range(4)], [Job("b", 1) for _ in range(2)]
    put(s, (*a[:3], *b, a[3]))
    assert [take(s, 2), take(s, 2), take(s, 2)] == [a[:2], a[2:], b]


def test_a_job_larger_than_a_batch_runs_alone() -> None:
    s, small, large = scheduler(), Job("a", 1), Job("a", 9)
    put(s, [small, large])
    assert [take(s, 4), take(s, 4)] == [[small], [large]]


def test_the_limit_is_that_of_the_key() -> None:
    s, jobs = scheduler(), [Job("small", 1, caller="x") for _ in range(3)]
    put(s, jobs)
    batch, _ = s.next_batch(0, {"small": 2}.__getitem__)
    assert batch is not None
    assert list(batch.jobs) == jobs[:2]


def test_only_a_full_batch_is_sent_ahead_and_only_to_who_will_soon_be_free() -> None:
    s = scheduler()
    waiting = [Job("a", 1) for _ in range(5)]
    put(s, waiting)

    def ahead(limit: int, busy_for: float) -> list[Job]:
        batch, _ = s.next_batch(0, lambda key: limit, busy_for=busy_for)
        return list(batch.jobs) if batch else []

    assert ahead(8, 0.01) == []
    assert ahead(4, 1.0) == []
    assert ahead(4, math.inf) == []
    assert ahead(4, -1.0) == [], "long overdue: it may never end"
    assert ahead(4, 0.01) == waiting[:4]
    assert take(s) == waiting[4:]


def test_who_renders_is_sent_what_callers_ask_at_once_and_no_more_rendering() -> None:
    s, icon, more, caller = scheduler(), Job("a", 0, Lane.RENDERING), Job("a", 0, Lane.RENDERING), Job("a", 1)
    put(s, [icon])
    rendering, _ = s.next_batch(0, lambda key: 8)
    assert rendering
    assert rendering.makes_way
    put(s, [more, caller])
    sent, _ = s.next_batch(0, lambda key: 8, busy_for=1.0, makes_way=True)
    assert sent
    assert sent.jobs == (caller,)
    assert not sent.makes_way
    assert s.next_batch(0, lambda key: 8, busy_for=1.0, makes_way=True) == (None, ())


def test_a_batch_that_crashed_is_not_sent_ahead_since_what_is_sent_with_it_would_die_too() -> None:
    s, crashed = scheduler(), Batch((Job("a", 1),), crashes=1)
    s.retry([crashed])
    assert s.next_batch(0, lambda key: 1, busy_for=0.0) == (None, ())
    assert s.next_batch(0, lambda key: 1) == (crashed, ())


def test_how_long_a_batch_takes_is_known_once_its_kinds_are_measured() -> None:
    s = scheduler()
    s.ended(Batch((Job("a", 10, kind="a"),)), seconds=1.0)
    assert s.seconds(Batch((Job("a", 2, kind="a"), Job("a", 3, kind="a")))) == pytest.approx(0.5)
    assert s.seconds(Batch((Job("a", 2, kind="a"), Job("a", 3, kind="never measured")))) == math.inf


def test_who_cannot_take_a_key_gets_what_comes_after_it() -> None:
    s, foreign, own, icon = scheduler(), Job("a", 1), Job("b", 1, Lane.BATCH), Job("b", 1, Lane.RENDERING)
    put(s, [foreign, own, icon])
    s.retry([Batch((Job("a", 1),))])
    only_b = {"a": 0, "b": 8}.__getitem__
    assert [batch.jobs for _ in range(2) if (batch := s.next_batch(0, only_b)[0])] == [(own,), (icon,)]
    assert s.next_batch(0, only_b) == (None, ())
    assert len(take(s)) == 1
    assert take(s) == [foreign]


def test_callers_go_before_pipelines_and_pipelines_before_rendering() -> None:
    s = scheduler()
    icon, pipeline, call = Job("i", 1, Lane.RENDERING), Job("a", 1, Lane.BATCH), Job("a", 1)
    put(s, [icon, pipeline, call])
    assert [take(s), take(s), take(s)] == [[call], [pipeline], [icon]]


@pytest.mark.parametrize("lane", [Lane.BATCH, Lane.RENDERING])
def test_no_lane_waits_for_ever_behind_a_busier_one(lane: Lane) -> None:
    s, patient = scheduler(), Job("p", 1, lane)
    put(s, [patient])
    for second in range(12):
        put(s, [Job("a", 1)], now=second)
        if patient in take(s, 1, now=second):
            return
        assert s.waiting(lane) == 1
    pytest.fail(f"{lane} waited for 12 seconds")


def test_a_flood_delays_only_its_sender() -> None:
    s = scheduler()
    flood, guest = [Job("a", 1, caller="flood") for _ in range(50)], Job("a", 1, caller="guest")
    put(s, flood)
    take(s, 4)
    put(s, [guest])
    assert guest in take(s, 4)


def test_callers_share_by_images_and_not_by_requests() -> None:
    s = scheduler()
    put(s, (Job("a", 4, caller="large") for _ in range(10)))
    put(s, (Job("a", 1, caller="small") for _ in range(40)))
    served = [job for _ in range(6) for job in take(s, 8)]
    images = {name: sum(job.size for job in served if job.caller == name) for name in ("large", "small")}
    assert abs(images["large"] - images["small"]) <= 4


def test_a_callers_own_jobs_go_by_earliest_deadline() -> None:
    s, late, soon, whenever = scheduler(), Job("a", 1, deadline=50), Job("a", 1, deadline=5), Job("a", 1)
    put(s, [whenever, late, soon])
    assert [take(s, 1), take(s, 1), take(s, 1)] == [[soon], [late], [whenever]]


def test_an_expired_job_costs_no_compute_and_is_reported() -> None:
    s, late, fine = scheduler(), Job("a", 1, deadline=5), Job("a", 1, deadline=50)
    put(s, [late, fine])
    batch, expired = s.next_batch(10, lambda key: 8)
    assert batch is not None
    assert (batch.jobs, expired) == ((fine,), (late,))


def test_a_job_that_has_expired_already_is_not_admitted() -> None:
    with pytest.raises(DeadlineExceeded):
        scheduler().admit(Job("a", 1, deadline=5), now=5)


def test_what_was_learned_while_the_machine_was_busy_does_not_shut_an_idle_server() -> None:
    """Nothing ran that could have corrected the estimate, so every request was refused from then on."""
    s = scheduler()
    for seconds in (0.1, 500.0):  # the second began with a compilation, say
        s.ended(Batch((Job("a", 1, kind="a", family="model"),)), seconds=seconds)
    put(s, [Job("a", 1, deadline=60, kind="a", family="model")])
    with pytest.raises(Overloaded):
        s.admit(Job("a", 1, deadline=60, kind="a", family="model"), now=0)


def test_a_job_whose_turn_would_come_too_late_is_refused_at_once() -> None:
    s = scheduler()
    s.ended(Batch((Job("a", 10, kind="a"),)), seconds=1.0)  # 0.1 s an image
    put(s, (Job("a", 1, kind="a") for _ in range(20)))
    with pytest.raises(Overloaded) as refusal:
        s.admit(Job("a", 1, deadline=2.0, kind="a"), 0)
    assert refusal.value.retry_after == pytest.approx(2.0)
    s.admit(Job("a", 1, deadline=3.5, kind="a"), 0)


def test_kinds_that_share_batches_are_told_apart_by_their_times() -> None:
    s, quick, slow = scheduler(), Job("a", 1, kind="quick"), Job("a", 1, kind="slow")
    for _ in range(50):
        s.ended(Batch((quick,)), seconds=0.1)
        s.ended(Batch((quick, slow)), seconds=1.1)
    put(s, [Job("a", 1, kind="quick")])
    assert s.expected_wait(quick) == pytest.approx(0.1, rel=0.1)
    put(s, [Job("a", 1, kind="slow")])
    assert s.expected_wait(quick) == pytest.approx(1.1, rel=0.1)


def test_what_runs_is_waited_for_too() -> None:
    s = scheduler()
    s.ended(Batch((Job("a", 10, kind="a"),)), seconds=1.0)
    put(s, [Job("a", 8, kind="a")])
    batch, _ = s.next_batch(0, lambda key: 8)
    assert s.expected_wait(Job("a", 1, kind="a")) == pytest.approx(0.4)  # half of it is over, on average
    assert batch is not None
    s.ended(batch)
    assert s.expected_wait(Job("a", 1, kind="a")) == 0


def test_a_light_caller_is_not_refused_for_anothers_flood() -> None:
    s = scheduler()
    s.ended(Batch((Job("a", 10, kind="a"),)), seconds=1.0)
    put(s, (Job("a", 1, kind="a", caller="flood") for _ in range(50)))
    s.admit(Job("a", 1, deadline=0.5, kind="a", caller="guest"), 0)


def test_a_full_queue_refuses_with_advice_and_a_cancelled_job_frees_its_place() -> None:
    s, first = scheduler(max_queue=2), Job("a", 4)
    put(s, [first, Job("b", 4)])
    with pytest.raises(QueueFull) as refusal:
        s.admit(Job("a", 1), 0)
    assert refusal.value.retry_after > 0
    assert s.cancel(first)
    s.admit(Job("a", 1), 0)


def test_rendering_neither_fills_the_queue_nor_is_refused() -> None:
    s = scheduler(max_queue=1)
    put(s, (Job("i", 1, Lane.RENDERING) for _ in range(3)))
    put(s, [Job("a", 1)])


def test_one_caller_cannot_take_more_than_its_quota() -> None:
    s = scheduler(max_queue_per_caller=1)
    put(s, [Job("a", 1, caller="ann")])
    with pytest.raises(QuotaExceeded):
        s.admit(Job("a", 1, caller="ann"), 0)
    put(s, [Job("a", 1, caller="bob")])
    take(s)
    put(s, [Job("a", 1, caller="ann")])


def test_a_job_that_runs_cannot_be_cancelled_out_of_the_queue() -> None:
    s, job = scheduler(), Job("a", 1)
    put(s, [job])
    take(s)
    assert not s.cancel(job)


def test_what_waits_in_vain_is_taken_out_and_the_rest_stays() -> None:
    s, jobs = scheduler(), [Job("a", 1), Job("b", 1), Job("a", 1, Lane.BATCH), Job("b", 1), Job("a", 1)]
    put(s, jobs[:4])
    s.retry([Batch((jobs[4],))])
    assert set(s.give_up(lambda job: job.key == "a")) == {jobs[0], jobs[2], jobs[4]}
    assert take(s) == [jobs[1], jobs[3]]
    assert take(s) == []


def test_a_batch_is_alone_only_while_nothing_else_runs_waits_or_is_coming() -> None:
    s = scheduler()
    put(s, [Job("a", 1)])
    batch, _ = s.next_batch(0, lambda key: 8)
    assert batch
    assert s.is_alone(batch)
    other = Job("a", 1)
    s.admit(other, 0)
    assert not s.is_alone(batch), "another is coming"
    s.enqueue(other, 0)
    assert not s.is_alone(batch), "another waits"
    second, _ = s.next_batch(0, lambda key: 8)
    assert second
    assert not s.is_alone(batch), "another runs"
    s.ended(second, 0.1)
    assert s.is_alone(batch)


def test_a_crashed_batch_is_tried_whole_then_halved_until_the_poison_is_alone() -> None:
    poison, *others = jobs = tuple(Job("a", 1) for _ in range(8))
    waiting, fine, given_up = [Batch(jobs)], [], []
    while waiting:
        batch = waiting.pop()
        if poison not in batch.jobs:
            fine += batch.jobs
        elif again := batch.after_crash():
            waiting += again
        else:
            given_up += batch.jobs
    assert given_up == [poison]
    assert set(fine) == set(others)


_jobs = st.builds(
    Job,
    key=st.sampled_from("ab"),
    size=st.integers(1, 6),
    lane=st.sampled_from(list(Lane)),
    deadline=st.one_of(st.just(math.inf), st.floats(1, 20)),
    caller=st.sampled_from(["ann", "bob", "cay"]),
    kind=st.sampled_from("ab"),
)


@given(st.lists(_jobs, max_size=40), st.lists(st.sampled_from(["enqueue", "take", "cancel", "wait"]), max_size=80))
def test_every_job_ends_exactly_once(pending: list[Job], events: list[str]) -> None:
    s, now, ended, admitted, coming = scheduler(max_queue=10, max_queue_per_caller=6), 0.0, [], [], []

    def step() -> None:
        batch, expired = s.next_batch(now, lambda key: 4)
        ended.extend(expired)
        if batch:
            assert batch.size <= 4 or len(batch.jobs) == 1
            assert len({job.key for job in batch.jobs}) == 1
            assert len({job.lane for job in batch.jobs}) == 1
            assert all(job.deadline > now for job in batch.jobs)
            ended.extend(batch.jobs)
            s.ended(batch, 0.1 * batch.size)
        else:  # work-conserving: nothing waits while a worker is told that there is nothing
            assert not any(s.waiting(lane) for lane in Lane)

    def enqueue() -> None:
        job = coming.pop()
        try:
            s.enqueue(job, now)
        except DeadlineExceeded:
            ended.append(job)

    for event in events:
        if pending:
            job = pending.pop()
            try:
                s.admit(job, now)
                admitted.append(job)
                coming.append(job)
            except (QueueFull, QuotaExceeded, Overloaded, DeadlineExceeded):
                pass
        assert s.waiting(Lane.INTERACTIVE) <= 10
        if event == "enqueue" and coming:
            enqueue()
        elif event == "take":
            step()
        elif event == "cancel" and admitted and s.cancel(admitted[-1]):
            ended.append(admitted[-1])
            coming = [job for job in coming if job is not admitted[-1]]
        else:
            now += 1
    while coming:
        enqueue()
    while any(s.waiting(lane) for lane in Lane):
        step()
    assert sorted(map(id, ended)) == sorted(map(id, admitted))


@given(st.lists(st.tuples(st.sampled_from(["ann", "bob"]), st.integers(1, 4)), min_size=1, max_size=60))
def test_while_two_callers_wait_neither_gets_more_than_a_batch_ahead(given: list[tuple[str, int]]) -> None:
    s, served = scheduler(), {"ann": 0, "bob": 0}
    put(s, (Job("a", size, caller=name) for name, size in given))
    waiting = {name: sum(caller == name for caller, _ in given) for name in served}
    while all(waiting.values()):
        for job in take(s, 4):
            served[job.caller] += job.size
            waiting[job.caller] -= 1
        if all(waiting.values()):
            assert abs(served["ann"] - served["bob"]) <= 8
