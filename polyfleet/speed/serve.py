"""From the time of a step to what a replica's users see: throughput, TTFT, TPOT in each regime.

All figures are of one replica, in seconds and output tokens per second; arrays over points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from polyfleet.speed.memory import sequences_held
from polyfleet.speed.rates import Rates
from polyfleet.speed.shape import Floats, Shape, Value
from polyfleet.speed.step import decode_step_s, mixed_launch_s, prefill_s, prefill_work_s

MEAN_GROWTH = 0.5  # a sequence has written half of its answer on average
DRAFT_KEPT = 0.7  # chance that a drafted token is kept (assumed; DeepSeek-V3's report states 0.85 to 0.9 for the first)
RESERVED_GROWTH = 0.75  # of the answer's cache: engines keep head room against eviction (assumed)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`tokens_per_s` output tokens; `ttft_s`, `tpot_s`; `running` requests that hold a slot, the others wait."""

    tokens_per_s: Floats
    ttft_s: Floats
    tpot_s: Floats
    running: Floats


@dataclass(frozen=True, slots=True)
class Work:
    """What requests ask for; each a scalar or an array over points. `fixed_batch` > 0: every step takes the time of
    that batch. `slots`: the most that run at once beside what memory says. `drafts`: tokens drafted ahead by
    speculative decoding, of which each is kept if all before it were."""

    input_tokens: Value
    output_tokens: Value
    cached_tokens: Value = 0.0
    fixed_batch: Value = 0.0
    slots: Value = np.inf
    drafts: Value = 0.0

    @property
    def new_tokens(self) -> Value:
        """Prompt tokens that must be computed."""
        return np.maximum(np.asarray(self.input_tokens) - self.cached_tokens, 1.0)


def slots_of(shape: Shape, work: Work) -> Floats:
    """Requests that run at once at most (at least 1, so that a replica that barely holds its weights still answers)."""
    tokens = work.input_tokens + RESERVED_GROWTH * np.asarray(work.output_tokens)
    return np.maximum(np.minimum(sequences_held(shape, tokens), work.slots), 1.0)


def at_concurrency(shape: Shape, rates: Rates, work: Work, in_flight: Value) -> Outcome:
    """A closed loop of `in_flight` requests: one ends, the next one starts.

    While one answer of O tokens is written, each of the other running requests is prefilled once, so a step carries
    (n - 1) / O prefills beside its n tokens (chunked prefill); what does not fit waits for a slot.
    """
    slots = slots_of(shape, work)
    running = np.minimum(in_flight, slots)
    tpot = _tpot_s(shape, rates, work, running)
    ttft = _own_ttft_s(shape, rates, work, running, tpot)
    answer = ttft + np.maximum(np.asarray(work.output_tokens) - 1, 0.0) * tpot
    per_s = running / answer
    waiting = np.maximum(in_flight - running, 0.0) / per_s
    return Outcome(per_s * work.output_tokens, ttft + waiting, tpot, running)


def saturated(shape: Shape, rates: Rates, work: Work, in_flight: Value = np.inf) -> Outcome:
    """Every slot is always taken: the batch is what memory (or `work.slots`) holds."""
    running = np.minimum(slots_of(shape, work), in_flight)
    tpot = _tpot_s(shape, rates, work, running)
    own = prefill_work_s(shape, rates, work.new_tokens, work.input_tokens, work.cached_tokens) * rates.chunk_share
    answer = np.asarray(work.output_tokens) * tpot + own / shape.pp
    ttft = _own_ttft_s(shape, rates, work, running, tpot)
    return Outcome(running * work.output_tokens / answer, ttft, tpot, running)


def static_batch(shape: Shape, rates: Rates, work: Work, batch: Value) -> Outcome:
    """One batch: all prompts are prefilled, then all answers are written in step."""
    stepping = np.where(np.asarray(work.fixed_batch) > 0, work.fixed_batch, batch)
    prompt = prefill_s(shape, rates, batch * work.new_tokens, work.input_tokens, work.cached_tokens)
    context = np.asarray(work.input_tokens) + MEAN_GROWTH * np.asarray(work.output_tokens)
    tpot = decode_step_s(shape, rates, stepping, context)
    ttft = prompt + rates.step_s
    total = ttft + np.maximum(np.asarray(work.output_tokens) - 1, 0.0) * tpot
    return Outcome(np.asarray(batch * work.output_tokens / total), ttft, tpot, np.asarray(batch) + 0.0 * total)


def burst(shape: Shape, rates: Rates, work: Work, requests: Value) -> Outcome:
    """`requests` that start together, nothing after them: prompts are prefilled one after another, throughput is all
    tokens over the time to the last answer."""
    slots = slots_of(shape, work)
    running = np.minimum(requests, slots)
    rounds = np.maximum(requests / slots, 1.0)
    alone = prefill_s(shape, rates, work.new_tokens, work.input_tokens, work.cached_tokens)
    step = _step_s(shape, rates, work, running)
    total = running * alone + work.output_tokens * step
    ttft = rates.first_token_s + (running + 1) / 2 * alone + (rounds - 1) / 2 * total
    tokens_per_s = requests * work.output_tokens / (rounds * total + rates.first_token_s)
    return Outcome(np.asarray(tokens_per_s), ttft, step + (running - 1) / 2 * alone / work.output_tokens, running)


def _step_s(shape: Shape, rates: Rates, work: Work, running: Value) -> Floats:
    context = np.asarray(work.input_tokens) + MEAN_GROWTH * np.asarray(work.output_tokens)
    batch = np.where(np.asarray(work.fixed_batch) > 0, work.fixed_batch, running)
    drafts = np.asarray(work.drafts, dtype=np.float64)
    kept = (1 - DRAFT_KEPT ** (drafts + 1)) / (1 - DRAFT_KEPT)
    return decode_step_s(shape, rates, batch, context, 1 + drafts) / kept


def _tpot_s(shape: Shape, rates: Rates, work: Work, running: Value) -> Floats:
    step = _step_s(shape, rates, work, running)
    return step + carried_prefill_s(shape, rates, work, running, step)


def carried_prefill_s(shape: Shape, rates: Rates, work: Work, running: Value, step: Value) -> Floats:
    """Time that other requests' prefills add to a decode step of `step` seconds.

    (n - 1) / O prefills ride on a step, as Poisson counts. A step that carries one takes no less than its launches.
    """
    own = prefill_work_s(shape, rates, work.new_tokens, work.input_tokens, work.cached_tokens)
    riding = np.maximum(np.asarray(running) - 1.0, 0.0) / np.maximum(np.asarray(work.output_tokens), 1.0)
    launched = np.maximum(mixed_launch_s(shape, rates) - step, 0.0) * (1.0 - np.exp(-riding))
    return np.asarray(np.maximum(riding * own * rates.chunk_share / shape.pp, launched))


def _own_ttft_s(shape: Shape, rates: Rates, work: Work, running: Value, tpot: Floats) -> Floats:
    """Time to first token once a slot is free: what a request pays once, its prefill and those it waits for. The one
    under way when it arrives takes no less than its launches."""
    alone = prefill_s(shape, rates, work.new_tokens, work.input_tokens, work.cached_tokens)
    own = prefill_work_s(shape, rates, work.new_tokens, work.input_tokens, work.cached_tokens)
    others = np.maximum(np.asarray(running) - 1.0, 0.0)
    crowd = others / (others + 3.0)  # alone, nothing is waited for
    under_way = np.maximum(own / shape.pp, mixed_launch_s(shape, rates))
    waited = rates.prefill_share * crowd * under_way + rates.burst_share * others * own / shape.pp
    return np.asarray(rates.first_token_s + alone + waited + rates.step_share * crowd * tpot)
