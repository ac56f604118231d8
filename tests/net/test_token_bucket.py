from __future__ import annotations

import pytest

from livestream.net.token_bucket import TokenBucket


def taken(bucket: TokenBucket, now: float, attempts: int = 100) -> int:
    return sum(bucket.try_take(now) for _ in range(attempts))


def test_a_burst_may_be_taken_at_once_and_then_so_many_a_second() -> None:
    bucket = TokenBucket(10, 20)
    assert taken(bucket, 1000) == 20
    assert taken(bucket, 1000.25) == 2
    assert taken(bucket, 1000.31) == 1, "half a token and more was left"
    assert taken(bucket, 4600) == 20


def test_to_look_takes_nothing() -> None:
    bucket = TokenBucket(1, 1)
    assert bucket.has_token(1000) and bucket.has_token(1000)
    assert taken(bucket, 1000) == 1 and not bucket.has_token(1000)


def test_what_is_taken_on_credit_is_paid_off_by_time() -> None:
    bucket = TokenBucket(10, 20)
    assert bucket.take(20, 1000) == 0
    assert bucket.take(5, 1000) == pytest.approx(0.5)
    assert not bucket.try_take(1000.5) and bucket.try_take(1000.7)


def test_a_clock_that_is_set_back_gives_no_tokens_and_takes_none() -> None:
    bucket = TokenBucket(10, 20)
    assert taken(bucket, 1000, 15) == 15
    assert taken(bucket, 950) == 5
    assert taken(bucket, 951) == 10
