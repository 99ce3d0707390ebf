/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts and doorbells without KVM: controllers that keep tables, behave like irqfds and
 * ioeventfds, and abort on calls that break the contract of pci/msi.h or pci/doorbell_ops.h
 * (attaching twice, detaching what is not attached, releasing a route in use). One thread.
 */
#pragma once

#include "pci/doorbell_ops.h"
#include "pci/msi.h"

#include <stdbool.h>
#include <stdint.h>

#define MOCK_ROUTES_MAX    160
#define MOCK_ATTACHED_MAX  192
#define MOCK_DOORBELLS_MAX 160

struct mock_msi_route {
	bool allocated;
	uint64_t address;
	uint32_t data;
	unsigned updates;
	unsigned messages; /* sent so far */
};

struct mock_msi {
	struct msi_controller controller; /* what the code under test gets */
	struct mock_msi_route routes[MOCK_ROUTES_MAX];
	struct {
		int eventfd;
		int route;
	} attached[MOCK_ATTACHED_MAX];
	unsigned attached_count;
	unsigned routes_allocated;
	/* Faults to inject; 0 or a negative errno that the call answers. */
	int allocate_fault;
	int update_fault;
	int attach_fault;
};

void mock_msi_init(struct mock_msi *msi);

/* Aborts where a route or an attachment was left behind. */
void mock_msi_deinit(struct mock_msi *msi);

/* Sends what the attached eventfds hold, as the kernel does by itself: one message an eventfd. */
void mock_msi_deliver(struct mock_msi *msi);

/* Delivers; then how many messages with @data were sent since the last call with it. */
unsigned mock_msi_take(struct mock_msi *msi, uint32_t data);

/* The number of eventfds that are attached to the routes that send @data. */
unsigned mock_msi_attached(const struct mock_msi *msi, uint32_t data);

struct mock_doorbells {
	struct doorbell_controller controller;
	struct {
		uint64_t gpa;
		int eventfd;
	} attached[MOCK_DOORBELLS_MAX];
	unsigned count;
	int attach_fault;
};

void mock_doorbells_init(struct mock_doorbells *doorbells);

/* Aborts where a doorbell was left behind. */
void mock_doorbells_deinit(struct mock_doorbells *doorbells);

/* A guest's write to @gpa: signals the eventfds there; false where there is none (an exit). */
bool mock_doorbells_ring(struct mock_doorbells *doorbells, uint64_t gpa);
