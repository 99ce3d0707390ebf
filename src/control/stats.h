/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All counters of a machine as one JSON document (docs/statistics.md describes every field). Any
 * counter may be a moment old while the machine runs. Main thread.
 */
#pragma once

struct error;
struct machine;

/*
 * Writes the document to @path, "-" being standard output. Replaces a file as a whole: readers see
 * the old or the new one. Returns 0, or negative errno explained in @error.
 */
int stats_write(const struct machine *machine, const char *path, struct error *error);
