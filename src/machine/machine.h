/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: guest memory, devices with their workers, serial ports, and a board around them
 * that is made anew at every reboot. All functions belong to the main thread, which runs the event
 * loop in machine_run().
 */
#pragma once

#include "machine/config.h"

#include "util/error.h"

#include <stddef.h>

struct board;
struct devices;
struct machine;

/* Why machine_run() returned. */
enum machine_end_reason {
	MACHINE_POWERED_OFF,  /* by the guest */
	MACHINE_RESET,        /* the guest asks to be rebooted */
	MACHINE_TRIPLE_FAULT, /* so does a triple fault, on a PC */
	MACHINE_PANICKED,     /* the guest's kernel said so */
	MACHINE_LEFT,         /* the user typed Ctrl-a x */
	MACHINE_SIGNALLED,    /* SIGINT, SIGTERM, SIGHUP or SIGQUIT */
	MACHINE_FAILED,       /* KVM or the host cannot go on */
};

struct machine_end {
	enum machine_end_reason reason;
	int signal;         /* of MACHINE_SIGNALLED */
	struct error error; /* of MACHINE_FAILED; may be empty otherwise */
};

/* What the console is connected to; the descriptors stay the caller's. */
struct machine_console {
	int input_fd; /* -1: none */
	int output_fd;
	bool escape_keys; /* Ctrl-a x and friends: the input is a terminal */
};

/*
 * Builds everything up to the first instruction. @config and what it points to outlive the
 * machine. From here on SIGINT, SIGTERM, SIGHUP and SIGQUIT end machine_run(), SIGUSR1 makes the
 * machine look at its disks' sizes again. Returns 0; or negative errno, explained in @error, with
 * nothing left behind.
 */
int machine_create(const struct machine_config *config, const struct machine_console *console,
	struct machine **ret_machine, struct error *error);

/* Stops everything, takes back what was made on the host. Accepts NULL. */
void machine_destroy(struct machine *machine);

/*
 * Starts the vCPUs and serves the machine until it ends for one of the reasons above; the vCPUs
 * have stopped then. Returns 0, or negative errno explained in ret_end->error.
 */
int machine_run(struct machine *machine, struct machine_end *ret_end);

/*
 * After a run that ended with a reset: a new board around the same memory and devices, with the
 * kernel loaded again. Returns 0 or negative errno, explained in @error.
 */
int machine_reset(struct machine *machine, struct error *error);

/*
 * For reports; both belong to the machine. The board changes with machine_reset(), and is NULL where
 * that has failed.
 */
const struct board *machine_board(const struct machine *machine);
const struct devices *machine_devices(const struct machine *machine);
