/* SPDX-License-Identifier: Apache-2.0 */
/* What kind of machine this is, found out at entry. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct machine {
	char hypervisor[13];
	bool x2apic;
	bool ring0_interpreted; /* software-only KVM: ring 0 costs hundreds of ns an instruction */
	uint64_t entry_tsc;     /* when C began */
};

const struct machine *machine_get(void);
