/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which kernel and initrd run where the user names none: $FASTVMM_GUEST, the guest that
 * tools/mkguest made beside this executable, the one in /var/lib/fastvmm, the newest readable
 * kernel in /boot, in this order. Main thread.
 */
#pragma once

struct error;

struct guest_selection {
	char *kernel;
	char *initrd; /* NULL: none was found beside the kernel */
};

/*
 * Finds a guest. Returns 0, or -ENOENT with one line that names the command which makes one. The
 * strings are released by guest_selection_deinit().
 */
int guest_select(struct guest_selection *ret_selection, struct error *error);

/* The same within one directory ("vmlinuz" and "initrd"). 0 or -ENOENT. */
int guest_select_directory(const char *directory, struct guest_selection *ret_selection);

/* The same within a directory like /boot: the highest version of vmlinuz-* that is readable. */
int guest_select_boot(const char *directory, struct guest_selection *ret_selection);

/* Accepts a zeroed object. */
void guest_selection_deinit(struct guest_selection *selection);
