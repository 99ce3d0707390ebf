/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of a machine that lives from one power-on or reboot to the next: KVM's virtual machine,
 * the buses, the virtio transports and the vCPUs. A reboot throws the board away and makes a new
 * one around the same memory, devices and workers, which gives every register its power-on value
 * without a reset path of its own in the kernel's interrupt chips.
 *
 * All functions belong to the main thread, unless noted.
 */
#pragma once

#include "vcpu/kvm.h"
#include "vcpu/vcpu.h"

#include <stdbool.h>
#include <stddef.h>

struct board;
struct error;
struct guest_memory;
struct pvpanic;
struct machine_cpus;
struct cmos;
struct power;
struct serial;
struct virtio_device;
struct virtio_pci;

/* What a board is built around. Everything belongs to the caller and outlives the board. */
struct board_config {
	const char *kvm_path;
	const struct guest_memory *memory;
	unsigned cpus;
	struct kvm_knobs knobs;
	const struct machine_cpus *vcpu_pins;
	struct serial *console; /* COM1 */
	struct serial *report;  /* COM2 */
	struct cmos *cmos;
	struct power *power;
	struct pvpanic *pvpanic;
	struct virtio_device *const *devices;
	size_t device_count;
	const char *kernel;
	const char *initrd;
	const char *cmdline;
	vcpu_ended ended; /* called by vCPU threads */
	void *ended_context;
};

/*
 * Builds everything up to the first instruction: virtual machine, memory slots, buses, transports,
 * vCPUs; then loads the kernel, the ACPI and MP tables. Returns 0 or negative errno, explained in
 * @error.
 */
int board_create(const struct board_config *config, struct board **ret_board, struct error *error);

/* Stops and joins the vCPUs, resets the devices through their transports, frees. Accepts NULL. */
void board_destroy(struct board *board);

/* Starts the vCPU threads. 0 or negative errno, explained in @error. */
int board_start(struct board *board, struct error *error);

/* Asks all vCPUs to stop and returns at once. Any thread. */
void board_request_stop(struct board *board);

/* Asks all vCPUs to stop and waits for them; the devices keep their state. */
void board_stop(struct board *board);

/* Sets an interrupt line. Any thread. */
void board_set_line(struct board *board, int gsi, bool level);

unsigned board_vcpu_count(const struct board *board);
const struct vcpu *board_vcpu(const struct board *board, unsigned index);

/* In the order of board_config.devices. */
const struct virtio_pci *board_transport(const struct board *board, size_t index);
