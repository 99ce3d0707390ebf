/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the mock driver alone. */
#pragma once

/* Reports a mistake of the test itself and aborts. */
void mock_misuse(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
