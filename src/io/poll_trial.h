/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides whether polling makes the guest faster. A guest that waits for each answer does more in
 * the same time when nobody has to be woken; a guest that does so much a second and no more does
 * not, and polling for it burns a CPU for nothing. The gaps between its requests (poll_window.h)
 * look the same in both cases. So now and then, for a few milliseconds, the worker does the
 * opposite of what it does, and stays with what got more work done: polling where it brings an
 * eighth more.
 *
 * A round: PAUSE in the settled mode, a SLICE of it that is measured, a slice of the other mode,
 * the verdict. The pause doubles as long as the verdict stays the same. A slice in which too little
 * happened, or that took long because nothing came, says nothing.
 *
 * Pure arithmetic on the caller's clock; owned by one thread.
 */
#pragma once

#include "util/checked.h"

#include <stdbool.h>
#include <stdint.h>

#define POLL_TRIAL_SLICE_NS     2000000u
#define POLL_TRIAL_PAUSE_MIN_NS 20000000u
#define POLL_TRIAL_PAUSE_MAX_NS 640000000u
#define POLL_TRIAL_WORK_MIN     8u

enum poll_trial_phase { POLL_TRIAL_PAUSE, POLL_TRIAL_BASE, POLL_TRIAL_OTHER };

struct poll_trial {
	bool settled; /* whether to poll, by the last verdict */
	enum poll_trial_phase phase;
	uint32_t pause_ns;
	uint64_t began_ns; /* this phase */
	uint64_t began_work;
	double base_rate; /* work per nanosecond of the measured slice */
};

/* Polling at first; the first trial comes soon. */
static inline void poll_trial_init(struct poll_trial *trial)
{
	*trial = (struct poll_trial){.settled = true, .pause_ns = POLL_TRIAL_PAUSE_MIN_NS};
}

/* Whether to poll now. */
static inline bool poll_trial_polls(const struct poll_trial *trial)
{
	return trial->settled != (trial->phase == POLL_TRIAL_OTHER);
}

static inline void poll_trial_begin(
	struct poll_trial *trial, enum poll_trial_phase phase, uint64_t now, uint64_t work)
{
	trial->phase = phase;
	trial->began_ns = now;
	trial->began_work = work;
}

static inline void poll_trial_judge(struct poll_trial *trial, double other_rate)
{
	double polled = trial->settled ? trial->base_rate : other_rate;
	double slept = trial->settled ? other_rate : trial->base_rate;
	bool verdict = polled > slept * 1.125;

	trial->pause_ns = verdict == trial->settled
	                          ? min_of(2 * trial->pause_ns, POLL_TRIAL_PAUSE_MAX_NS)
	                          : POLL_TRIAL_PAUSE_MIN_NS;
	trial->settled = verdict;
}

/*
 * Goes on, at @now (nanoseconds) and with @work done since the start (requests, frames). To be
 * called often while polling and after each sleep.
 */
static inline void poll_trial_step(struct poll_trial *trial, uint64_t now, uint64_t work)
{
	uint64_t length = now - trial->began_ns, done = work - trial->began_work;
	bool telling = done >= POLL_TRIAL_WORK_MIN && length < 2 * POLL_TRIAL_SLICE_NS;

	if (length < (trial->phase == POLL_TRIAL_PAUSE ? trial->pause_ns : POLL_TRIAL_SLICE_NS))
		return;
	if (trial->phase == POLL_TRIAL_PAUSE) {
		poll_trial_begin(trial, POLL_TRIAL_BASE, now, work);
	} else if (!telling) {
		poll_trial_begin(trial, POLL_TRIAL_PAUSE, now, work);
	} else if (trial->phase == POLL_TRIAL_BASE) {
		trial->base_rate = (double)done / (double)length;
		poll_trial_begin(trial, POLL_TRIAL_OTHER, now, work);
	} else {
		poll_trial_judge(trial, (double)done / (double)length);
		poll_trial_begin(trial, POLL_TRIAL_PAUSE, now, work);
	}
}
