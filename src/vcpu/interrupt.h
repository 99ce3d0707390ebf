/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts towards the guest. A GSI is a number for either a line of the interrupt chips (0 to
 * 23: I/O APIC pin of the same number, and below 16 also the pin of the two PICs; GSI 0 is pin 0,
 * so an ACPI MADT needs no override for the timer) or an MSI message (24 and up). An irqfd ties an
 * eventfd to a GSI, so that its signal becomes an interrupt inside the kernel.
 *
 * The functions mirror src/pci/msi.h. Any thread; a mutex inside orders changes of the table.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;
struct interrupt_routes;
struct kvm;

#define INTERRUPT_LINES 24

/*
 * Starts with the lines' routes and no messages. @kvm has its virtual machine and outlives the
 * object. Returns 0 or negative errno, explained in @error. Main thread.
 */
int interrupt_routes_create(
	const struct kvm *kvm, struct interrupt_routes **ret_routes, struct error *error);

/* Eventfds that are still attached stay attached until the virtual machine goes. Accepts NULL. */
void interrupt_routes_destroy(struct interrupt_routes *routes);

/*
 * Reserves a GSI for a message, which is unspecified until the first interrupt_routes_update().
 * Returns it (>= INTERRUPT_LINES), or -ENOSPC.
 */
int interrupt_routes_allocate(struct interrupt_routes *routes);

/* Gives it back; nothing is attached to it any more. */
void interrupt_routes_release(struct interrupt_routes *routes, int gsi);

/*
 * Sets the message that @gsi (allocated) sends. A message equal to the one in force costs no
 * system call. Returns 0, -EINVAL for a GSI that is not allocated, or the kernel's negative errno
 * with the old message still in force.
 */
int interrupt_routes_update(
	struct interrupt_routes *routes, int gsi, uint64_t address, uint32_t data);

/*
 * From now on each signal of @eventfd raises @gsi: sends its message, or pulses its line (edge
 * only: for ISA interrupts). A signal that the eventfd already holds is sent at once.
 * Returns 0 or negative errno (-EBUSY: this eventfd is attached already).
 */
int interrupt_routes_attach(struct interrupt_routes *routes, int gsi, int eventfd);

/* The opposite; when it returns, no further signal is taken. */
void interrupt_routes_detach(struct interrupt_routes *routes, int gsi, int eventfd);

/* Sets a line (below INTERRUPT_LINES) high or low. 0 or negative errno. */
int interrupt_routes_set_line(struct interrupt_routes *routes, int gsi, bool high);

/* How often the kernel's table was written: each time makes the kernel wait for its readers. */
uint64_t interrupt_routes_table_writes(struct interrupt_routes *routes);
