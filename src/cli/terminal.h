/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw mode of the controlling terminal for the guest's console, and its certain restoration: at
 * exit, when fastvmm dies of a signal, and while it is stopped (SIGTSTP) until SIGCONT. There is
 * one terminal, so this is a module with static state. Main thread.
 */
#pragma once

struct error;

/*
 * Puts @fd into raw mode, remembers its settings, and takes care of the signals named above
 * wherever their disposition is the default. Where @fd is no terminal, does nothing and
 * returns 0. Otherwise 0 or negative errno with an explanation. Called once.
 */
int terminal_enter_raw(int fd, struct error *error);

/* Restores what terminal_enter_raw() found. Safe to call at any time, and more than once. */
void terminal_restore(void);
