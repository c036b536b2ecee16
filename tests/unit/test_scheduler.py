"""The scheduler: no job lost, none answered twice, limits kept, work never waiting while somebody is free."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from striate_service.errors import DeadlineExceeded, QueueFull, QuotaExceeded
from striate_service.scheduling.job import Batch, Job, Lane
from striate_service.scheduling.scheduler import Scheduler


def scheduler(**limits: int) -> Scheduler:
    return Scheduler(**{"max_batch_size": 8, "max_queue": 100, **limits})


def take(scheduler: Scheduler, now: float = 0.0) -> list[Job]:
    batch, _ = scheduler.next_batch(now)
    return list(batch.jobs) if batch else []


def test_a_single_job_leaves_at_once() -> None:
    s, job = scheduler(), Job("a", 1)
    s.admit(job, 0)
    assert take(s) == [job]
    assert take(s) == []


def test_jobs_that_gathered_leave_together_up_to_the_limit() -> None:
    s, jobs = scheduler(max_batch_size=3), [Job("a", 1) for _ in range(5)]
    for job in jobs:
        s.admit(job, 0)
    assert [take(s), take(s)] == [jobs[:3], jobs[3:]]


def test_jobs_of_different_models_never_share_a_batch_and_take_turns() -> None:
    s = scheduler(max_batch_size=2)
    a, b = [Job("a", 1) for _ in range(4)], [Job("b", 1) for _ in range(2)]
    for job in (*a, *b):
        s.admit(job, 0)
    assert [take(s), take(s), take(s)] == [a[:2], b, a[2:]]


def test_a_job_larger_than_a_batch_runs_alone() -> None:
    s, small, large = scheduler(max_batch_size=4), Job("a", 1), Job("a", 9)
    s.admit(small, 0)
    s.admit(large, 0)
    assert [take(s), take(s)] == [[small], [large]]


def test_callers_go_before_rendering() -> None:
    s, icon, call = scheduler(), Job("i", 1, Lane.RENDERING), Job("a", 1)
    s.admit(icon, 0)
    s.admit(call, 0)
    assert [take(s), take(s)] == [[call], [icon]]


def test_an_expired_job_costs_no_compute_and_is_reported() -> None:
    s, late, fine = scheduler(), Job("a", 1, deadline=5), Job("a", 1, deadline=50)
    s.admit(late, 0)
    s.admit(fine, 0)
    batch, expired = s.next_batch(now=10)
    assert batch is not None
    assert (batch.jobs, expired) == ((fine,), (late,))


def test_a_job_that_has_expired_already_is_not_admitted() -> None:
    with pytest.raises(DeadlineExceeded):
        scheduler().admit(Job("a", 1, deadline=5), now=5)


def test_a_full_queue_refuses_with_advice_and_a_cancelled_job_frees_its_place() -> None:
    s, first = scheduler(max_queue=2), Job("a", 4)
    s.admit(first, 0)
    s.admit(Job("b", 4), 0)
    with pytest.raises(QueueFull) as refusal:
        s.admit(Job("a", 1), 0)
    assert refusal.value.retry_after > 0
    assert s.cancel(first)
    s.admit(Job("a", 1), 0)


def test_rendering_neither_fills_the_queue_nor_is_refused() -> None:
    s = scheduler(max_queue=1)
    for _ in range(3):
        s.admit(Job("i", 1, Lane.RENDERING), 0)
    s.admit(Job("a", 1), 0)


def test_one_caller_cannot_take_more_than_its_quota() -> None:
    s = scheduler(max_queue_per_caller=1)
    s.admit(Job("a", 1, caller="ann"), 0)
    with pytest.raises(QuotaExceeded):
        s.admit(Job("a", 1, caller="ann"), 0)
    s.admit(Job("a", 1, caller="bob"), 0)
    take(s)
    s.admit(Job("a", 1, caller="ann"), 0)


def test_a_job_that_runs_cannot_be_cancelled_out_of_the_queue() -> None:
    s, job = scheduler(), Job("a", 1)
    s.admit(job, 0)
    take(s)
    assert not s.cancel(job)


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


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(1, 6), st.sampled_from(list(Lane)), st.integers(1, 20)),
        max_size=40,
    ),
    st.lists(st.sampled_from(["take", "cancel", "wait"]), max_size=60),
)
def test_every_job_ends_exactly_once(jobs: list[tuple[str, int, Lane, int]], events: list[str]) -> None:
    s, now, ended, admitted = scheduler(max_batch_size=4, max_queue=10), 0.0, [], []
    pending = [Job(key, size, lane, deadline=float(deadline)) for key, size, lane, deadline in jobs]

    def step() -> None:
        batch, expired = s.next_batch(now)
        ended.extend(expired)
        if batch:
            assert batch.size <= 4 or len(batch.jobs) == 1
            assert len({job.key for job in batch.jobs}) == 1
            assert all(job.deadline > now for job in batch.jobs)
            ended.extend(batch.jobs)

    for event in events:
        if pending:
            job = pending.pop()
            try:
                s.admit(job, now)
                admitted.append(job)
            except (QueueFull, DeadlineExceeded):
                pass
        assert s.waiting(Lane.INTERACTIVE) <= 10
        if event == "take":
            step()
        elif event == "cancel" and admitted and s.cancel(admitted[-1]):
            ended.append(admitted[-1])
        else:
            now += 1
    while s.waiting(Lane.INTERACTIVE) + s.waiting(Lane.RENDERING):
        step()
    assert sorted(map(id, ended)) == sorted(map(id, admitted))
