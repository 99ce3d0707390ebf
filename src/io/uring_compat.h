/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel's io_uring has and liburing 2.3 (Debian 12) does not name. Everything here is
 * probed at run time before it is used.
 */
#pragma once

#include <liburing.h>
#include <linux/ioctl.h>

/* Opcodes are an enum in the kernel's header; these continue it under names of our own. */
enum uring_compat_op {
	URING_OP_READV_FIXED = 60, /* 6.15: vectored read into a registered buffer */
	URING_OP_WRITEV_FIXED = 61,
};

/* 6.12: io_uring command of block devices; sqe->addr is the offset, sqe->addr3 the length. */
#ifndef BLOCK_URING_CMD_DISCARD
#define BLOCK_URING_CMD_DISCARD _IO(0x12, 0)
#endif

/* io_uring_enter() flag of 5.18, for a ring whose descriptor is registered. */
#ifndef IORING_ENTER_REGISTERED_RING
#define IORING_ENTER_REGISTERED_RING (1U << 4)
#endif
