/* SPDX-License-Identifier: Apache-2.0 */
/* `fastvmm probe`: what this host offers, and whether Linux guests run on it. */
#pragma once

struct options;

/*
 * Prints the report to standard output, as text or (options->probe_json) as JSON. Looks at the KVM
 * device of @options and shows the CPUID of its machine's first vCPU. Needs no rights: what cannot
 * be seen without them is reported as such. Leaves nothing behind on the host.
 * Returns the exit status, an enum probe_level.
 */
int probe_run(const struct options *options);
