/* SPDX-License-Identifier: Apache-2.0 */
/* Ring features that options ask for, whatever the device type. */
#pragma once

#include <stdint.h>

#include "options.h"
#include "virtio_pci.h"

/* The bits to ask for: those that are demanded, and those left to `auto`. */
uint64_t features_wanted(const struct options *options);

/* Ends the run with a failure when a demanded feature was not agreed on. */
void features_demand(const struct options *options, const struct virtio_device *device);
